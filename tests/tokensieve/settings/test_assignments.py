from __future__ import annotations

import re
from pathlib import Path

import pytest

from tokensieve.errors import InputError
from tokensieve.settings import CHECKS, Base, Settings, assigned, changed, render, tried

PARAMS = Path(__file__).parents[3] / "params.yaml"


def test_assignments_are_written_and_logged(params: Path) -> None:
    assignments = [
        "finetune.max_epochs=5",
        "data.shots=3",
        "mask.unit=columns",
        "finetune.batch_size=32",
        "validate.errors=[leak, empty]",
    ]
    assert changed(params, assignments) == {
        "data.shots": (None, 3),
        "validate.errors": (CHECKS[:8], ("leak", "empty")),
        "mask.unit": ("rows", "columns"),
        "finetune.max_epochs": (10, 5),
    }
    after = Settings.load(params)
    assert (after.finetune.max_epochs, after.data.shots, after.mask.unit, after.finetune.batch_size) == (
        5,
        3,
        "columns",
        32,
    )
    assert params.read_text(encoding="utf-8") == render(after)
    assert changed(params, ["data.shots=null"]) == {"data.shots": (3, None)}
    assert [path.name for path in params.parent.iterdir()] == ["params.yaml"]


def test_a_text_may_hold_equals_signs_digits_and_brackets(params: Path) -> None:
    changed(params, ["register.uri=postgresql://host/db?a=b", "data.text_column='5'", "data.label_column=[x"])
    after = Settings.load(params)
    assert (after.register.uri, after.data.text_column, after.data.label_column) == (
        "postgresql://host/db?a=b",
        "'5'",
        "[x",
    )


@pytest.mark.parametrize(
    "text", ["no", "123", "1e5", "1e-3", "null", "2020-01-01", " Text ", "a: b", "# a", "1" * 5000]
)
def test_an_assigned_text_is_not_parsed(params: Path, text: str) -> None:
    changed(params, [f"data.label_column={text}"])
    assert Settings.load(params).data.label_column == text


def test_assignments_are_checked_without_a_file(tmp_path: Path) -> None:
    path = tmp_path / "none" / "params.yaml"
    assert assigned(path, []) == Settings()
    assert assigned(path, ["finetune.max_epochs=5", "data.text_column=no"]) == Settings.of(
        {"finetune": {"max_epochs": 5}, "data": {"text_column": "no"}}
    )
    with pytest.raises(InputError, match=r"^--set: finetune\.max_epochs is 0 \(allowed: 1 to 1000\)$"):
        assigned(path, ["finetune.max_epochs=0"])
    with pytest.raises(InputError, match=r"params\.yaml is missing; "):
        changed(path, ["finetune.max_epochs=5"])
    assert not list(tmp_path.iterdir())


def test_assignments_are_checked_on_top_of_a_file_that_is_left_alone(params: Path) -> None:
    params.write_text("# mine\nfinetune:\n  max_epochs: 4\n", encoding="utf-8")
    before = params.read_bytes()
    assert assigned(params, ["finetune.batch_size=8"]) == Settings.of(
        {"finetune": {"max_epochs": 4, "batch_size": 8}}
    )
    assert params.read_bytes() == before
    params.write_text("finetune: 3\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"^params\.yaml: section 'finetune' is '3'"):
        assigned(params, ["finetune.max_epochs=5"])


def test_a_file_with_the_same_values_is_not_rewritten(params: Path) -> None:
    params.write_text("# mine\nfinetune:\n  max_epochs: 4\n", encoding="utf-8")
    before = params.read_bytes()
    assert changed(params, ["finetune.max_epochs=4"]) == {}
    assert params.read_bytes() == before


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("finetune.max_epochs", "--set 'finetune.max_epochs' is not of the form section.key=value"),
        ("max_epochs=3", "--set 'max_epochs=3' is not of the form"),
        ("finetune.=3", "is not of the form"),
        ("finetune.epoch=3", "--set: unknown setting 'finetune.epoch'. Did you mean 'max_epochs'?"),
        ("fintune.epochs=3", "--set: unknown section 'fintune'. Did you mean 'finetune'?"),
        ("finetune.max_epochs=0", "--set: finetune.max_epochs is 0 (allowed: 1 to 1000"),
        ("finetune.max_epochs=", "--set: finetune.max_epochs is 'None'; use a whole number"),
        (
            "finetune.max_epochs=1" + "0" * 400,
            "--set: finetune.max_epochs is a number of more than 18 digits (allowed: 1 to 1000",
        ),
        ("finetune.max_epochs=1" + "0" * 5000, "--set: finetune.max_epochs is '1000"),
        (
            "mask.budget=1" + "0" * 400,
            "--set: mask.budget is a number of more than 18 digits (allowed: 0.0001 to 1.0",
        ),
        ("mask.budget=1e999", "--set: mask.budget is inf (allowed: 0.0001 to 1.0"),
        ("mask.budget=.nan", "--set: mask.budget is nan (allowed: 0.0001 to 1.0"),
        ("finetune.max_epochs=2020-13-01", "--set: finetune.max_epochs is '2020-13-01'; use a whole number"),
        ("data.text_column=label", "--set: data.text_column and data.label_column are both 'label'"),
        ("data.text_column=", "--set: data.text_column is empty; use text"),
        ("register.name=a/b", "--set: register.name is 'a/b' (allowed: letters, digits"),
        ("mask.budget=1e3", "--set: mask.budget is 1000 (allowed: 0.0001 to 1.0"),
    ],
)
def test_nothing_is_written_when_one_assignment_is_refused(params: Path, assignment: str, words: str) -> None:
    before = params.read_bytes()
    with pytest.raises(InputError, match=re.escape(words)):
        changed(params, ["finetune.batch_size=8", assignment])
    assert params.read_bytes() == before
    assert [path.name for path in params.parent.iterdir()] == ["params.yaml"]


def test_a_separator_is_a_text_and_null_takes_it_away(params: Path) -> None:
    assert changed(params, ["data.label_separator=|"]) == {"data.label_separator": (None, "|")}
    assert Settings.load(params).data.label_separator == "|"
    assert changed(params, ["data.label_separator=null"]) == {"data.label_separator": ("|", None)}
    assert Settings.load(params).data.label_separator is None
    with pytest.raises(InputError, match=r"data\.label_separator is empty; use text"):
        changed(params, ["data.label_separator= "])


def test_assignments_stay_after_success_and_are_undone_after_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("# mine\n" + render())
    before = path.read_text()
    with pytest.raises(InputError, match="nosuch"), tried(path, ["base.model=nosuch"]):
        assert Settings.load(path).base.model == "nosuch"
        raise InputError("base.model nosuch was not found")
    assert path.read_text() == before
    assert f"base.model is {Base().model} again, because this command failed" in caplog.text
    caplog.set_level("INFO", "tokensieve")
    with tried(path, ["finetune.max_epochs=3", "data.text_column=[subject, body]"]):
        pass
    assert "data.text_column = [subject, body] (was text)" in caplog.text
    assert Settings.load(path).finetune.max_epochs == 3
    with pytest.raises(KeyboardInterrupt), tried(path, ["finetune.max_epochs=4"]):
        raise KeyboardInterrupt
    assert Settings.load(path).finetune.max_epochs == 4
    with pytest.raises(InputError), tried(path, ["finetune.max_epochs=5"]):
        path.write_text(render().replace("max_words: 3", "max_words: 2"))
        raise InputError("wrong")
    assert "max_words: 2" in path.read_text(), "what somebody wrote meanwhile stays"
