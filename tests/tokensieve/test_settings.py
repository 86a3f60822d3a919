from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tokensieve.errors import InputError
from tokensieve.settings import CHECKS, Base, Settings, assigned, changed, render, sections, tried

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(render(), encoding="utf-8")
    return path


def test_the_defaults_render_and_load(params: Path) -> None:
    assert Settings.load(params) == Settings()


def test_the_repositorys_file_is_the_rendered_one() -> None:
    assert PARAMS.read_text(encoding="utf-8") == render()


def test_every_setting_has_a_comment_and_stands_once() -> None:
    lines = [line for line in render().splitlines() if line.startswith("  ")]
    assert len(lines) == sum(len(dataclasses.fields(kind)) for kind in sections().values())
    assert all("  # " in line for line in lines)


def test_changed_values_render_and_load(params: Path) -> None:
    tree = {
        "base": {"model": "models/größe", "pooling": "cls"},
        "data": {"shots": 5, "text": "yes"},
        "validate": {"errors": []},
        "finetune": {"learning_rate": 1e-5},
    }
    wanted = Settings.of(tree)
    params.write_text(render(wanted), encoding="utf-8")
    assert Settings.load(params) == wanted
    assert (wanted.data.shots, wanted.validate.errors, wanted.finetune.learning_rate) == (5, (), 1e-5)


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\t\n\x85"), min_size=1).filter(
        str.strip
    )
)
def test_any_text_renders_and_loads(text: str) -> None:
    wanted = Settings.of({"register": {"experiment": text}})
    assert yaml.safe_load(render(wanted))["register"]["experiment"] == text


@pytest.mark.parametrize(
    "text",
    ["5", "null", "true", "1.5", "a: b", "a # b", "- a", "'a'", "{a", "2020-01-01", "@a", " a ", "a\nb"],
)
def test_text_that_yaml_takes_for_something_else_is_quoted(params: Path, text: str) -> None:
    wanted = Settings.of({"data": {"label": text}})
    params.write_text(render(wanted), encoding="utf-8")
    assert Settings.load(params) == wanted


def test_absent_sections_and_keys_take_their_defaults(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("finetune:\n  epochs: 3\n", encoding="utf-8")
    assert Settings.load(path) == Settings.of({"finetune": {"epochs": 3}})
    path.write_text("# nothing\n", encoding="utf-8")
    assert Settings.load(path) == Settings()


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (
            {"fintune": {}},
            "params.yaml: unknown section 'fintune', did you mean 'finetune'?; sections: base, data",
        ),
        ({"zzz": {}}, "unknown section 'zzz'; sections: "),
        (
            {"finetune": {"epoch": 3}},
            "unknown setting 'finetune.epoch', did you mean 'epochs'?; settings of finetune: epochs, steps",
        ),
        ({"finetune": {7: 3}}, "unknown setting 'finetune.7'; settings of"),
        ({"finetune": 3}, "section 'finetune' holds '3'; give keys and values"),
        ({"finetune": None}, "section 'finetune' holds 'None'; give keys and values"),
        (
            {"finetune": {"epochs": "many"}},
            "params.yaml: finetune.epochs is 'many'; give a whole number; allowed: 1 to 1_000",
        ),
        ({"finetune": {"epochs": 2.5}}, "finetune.epochs is '2.5'; give a whole number"),
        ({"finetune": {"epochs": True}}, "finetune.epochs is 'True'; give a whole number"),
        ({"finetune": {"epochs": None}}, "finetune.epochs is 'None'; give a whole number"),
        ({"finetune": {"warmup": "some"}}, "finetune.warmup is 'some'; give a number; allowed: 0.0 to 1.0"),
        ({"finetune": {"warmup": False}}, "finetune.warmup is 'False'; give a number"),
        ({"data": {"text": 5}}, "data.text is '5'; give text; put it in quotes"),
        ({"data": {"label": False}}, "data.label is 'False'; give text; put it in quotes"),
        ({"data": {"label": 10**400}}, "data.label is a number of more than 18 digits; put it in quotes"),
        (
            {"data": {"text": "a", "label": "a"}},
            "data.text and data.label are both 'a'; give two different columns",
        ),
        ({"data": {"text": "label"}}, "data.text and data.label are both 'label'"),
        ({"mask": {"shape": 5}}, "mask.shape is '5'; give text; allowed: rows, columns"),
        (
            {"register": {"name": 5}},
            "register.name is '5'; give text or null; put it in quotes; allowed: letters, digits",
        ),
        ({"data": {"text": " "}}, "data.text is empty; give a text"),
        ({"data": {"shots": "few"}}, "data.shots is 'few'; give a whole number or null; allowed: at least 1"),
        ({"data": {"shots": 0}}, "data.shots is 0; allowed: at least 1"),
        ({"finetune": {"epochs": 0}}, "finetune.epochs is 0; allowed: 1 to 1_000"),
        ({"split": {"test": 0.9}}, "split.test is 0.9; allowed: 0.01 to 0.5"),
        ({"finetune": {"warmup": float("nan")}}, "finetune.warmup is nan; allowed: 0.0 to 1.0"),
        ({"finetune": {"learning_rate": float("inf")}}, "finetune.learning_rate is inf; allowed: 0.0 to 1.0"),
        (
            {"finetune": {"learning_rate": 10**400}},
            "finetune.learning_rate is a number of more than 18 digits; allowed: 0.0 to 1.0",
        ),
        (
            {"finetune": {"epochs": 10**400}},
            "finetune.epochs is a number of more than 18 digits; allowed: 1 to 1_000",
        ),
        (
            {"finetune": {"epochs": -(10**400)}},
            "finetune.epochs is a number of more than 18 digits; allowed: 1 to 1_000",
        ),
        (
            {"finetune": {"epochs": float("inf")}},
            "finetune.epochs is 'inf'; give a whole number; allowed: 1 to 1_000",
        ),
        ({"data": {"shots": 10**400}}, "data.shots is a number of more than 18 digits; allowed: at least 1"),
        ({"mask": {"frozen": 1.0}}, "mask.frozen is 1; allowed: 0.0 to 0.99"),
        ({"mask": {"shape": "row"}}, "mask.shape is 'row'; allowed: rows, columns"),
        (
            {"validate": {"errors": "leak"}},
            "validate.errors is 'leak'; give a list, for example [columns, empty]; allowed: columns, empty",
        ),
        ({"validate": {"errors": ["leek"]}}, "validate.errors holds 'leek'; allowed: columns, empty"),
    ],
)
def test_a_bad_setting_is_refused_by_name(params: Path, tree: dict[str, Any], words: str) -> None:
    params.write_text(yaml.safe_dump(tree), encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        Settings.load(params)
    assert "\n" not in str(caught.value)


def test_a_section_made_in_code_is_checked_too() -> None:
    with pytest.raises(InputError, match=r"^mask\.budget is 2; allowed: 0\.0001 to 1\.0$"):
        dataclasses.replace(Settings().mask, budget=2)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"finetune: [", "params.yaml is not valid YAML: "),
        (b"a: \xff", "params.yaml is not valid YAML: "),
        (b"- 1", "params.yaml holds '[1]'; give sections with keys and values"),
        (b"text", "params.yaml holds 'text'; give sections with keys and values"),
        (b"finetune:\n  epochs: 1" + b"0" * 5000, "params.yaml is not valid YAML: Exceeds the limit"),
        (b"finetune:\n  epochs: 2020-13-01", "params.yaml is not valid YAML: month must be in 1..12"),
    ],
)
def test_a_file_that_is_no_tree_is_refused(params: Path, content: bytes, words: str) -> None:
    params.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(words)):
        Settings.load(params)


def test_a_missing_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"params\.yaml is missing; 'tokensieve init .*' makes a project"):
        Settings.load(tmp_path / "params.yaml")


@pytest.mark.parametrize("shown", ["1e-3", "1E-3", "+1e-3", ".1e-2", "0.001", "1.0e-3"])
def test_a_number_may_have_an_exponent(params: Path, shown: str) -> None:
    params.write_text(f"finetune:\n  learning_rate: {shown}\n", encoding="utf-8")
    assert Settings.load(params).finetune.learning_rate == 0.001
    changed(params, [f"finetune.learning_rate={shown}", "finetune.weight_decay=2e-2"])
    assert Settings.load(params).finetune.weight_decay == 0.02


def test_assignments_are_written_and_told(params: Path) -> None:
    assignments = [
        "finetune.epochs=5",
        "data.shots=3",
        "mask.shape=columns",
        "finetune.batch=32",
        "validate.errors=[leak, empty]",
    ]
    assert changed(params, assignments) == {
        "data.shots": (None, 3),
        "validate.errors": (CHECKS[:8], ("leak", "empty")),
        "mask.shape": ("rows", "columns"),
        "finetune.epochs": (10, 5),
    }
    after = Settings.load(params)
    assert (after.finetune.epochs, after.data.shots, after.mask.shape, after.finetune.batch) == (
        5,
        3,
        "columns",
        32,
    )
    assert params.read_text(encoding="utf-8") == render(after)
    assert changed(params, ["data.shots=null"]) == {"data.shots": (3, None)}
    assert [path.name for path in params.parent.iterdir()] == ["params.yaml"]


def test_a_text_may_hold_equals_signs_digits_and_brackets(params: Path) -> None:
    changed(params, ["register.uri=postgresql://host/db?a=b", "data.text='5'", "data.label=[x"])
    after = Settings.load(params)
    assert (after.register.uri, after.data.text, after.data.label) == (
        "postgresql://host/db?a=b",
        "'5'",
        "[x",
    )


@pytest.mark.parametrize(
    "text", ["no", "123", "1e5", "1e-3", "null", "2020-01-01", " Text ", "a: b", "# a", "1" * 5000]
)
def test_an_assigned_text_is_taken_as_it_stands(params: Path, text: str) -> None:
    changed(params, [f"data.label={text}"])
    assert Settings.load(params).data.label == text


def test_a_text_that_looks_like_a_number_with_an_exponent_stays_text(params: Path) -> None:
    params.write_text("data:\n  text: 1e5\n  label: '1e-3'\n", encoding="utf-8")
    assert (Settings.load(params).data.text, Settings.load(params).data.label) == ("1e5", "1e-3")


@pytest.mark.parametrize("name", ["a/b", "a:b", "100%", "..", ".", "a\n", "_a", "/a"])
def test_a_model_name_that_the_registry_refuses_is_refused(name: str) -> None:
    with pytest.raises(
        InputError,
        match=r"register\.name is .*; allowed: letters, digits, spaces and \. _ -, a letter or digit first$",
    ):
        Settings.of({"register": {"name": name}})


@pytest.mark.parametrize("name", ["classifier", "Größe 2.0", "a_b-c", "7"])
def test_a_model_name_may_hold_spaces_points_and_dashes(name: str) -> None:
    assert Settings.of({"register": {"name": name}}).register.name == name


def test_assignments_are_checked_without_a_file(tmp_path: Path) -> None:
    path = tmp_path / "none" / "params.yaml"
    assert assigned(path, []) == Settings()
    assert assigned(path, ["finetune.epochs=5", "data.text=no"]) == Settings.of(
        {"finetune": {"epochs": 5}, "data": {"text": "no"}}
    )
    with pytest.raises(InputError, match=r"^--set: finetune\.epochs is 0; allowed: 1 to 1_000$"):
        assigned(path, ["finetune.epochs=0"])
    with pytest.raises(InputError, match=r"params\.yaml is missing; "):
        changed(path, ["finetune.epochs=5"])
    assert not list(tmp_path.iterdir())


def test_assignments_are_checked_on_top_of_a_file_that_is_left_alone(params: Path) -> None:
    params.write_text("# mine\nfinetune:\n  epochs: 4\n", encoding="utf-8")
    before = params.read_bytes()
    assert assigned(params, ["finetune.batch=8"]) == Settings.of({"finetune": {"epochs": 4, "batch": 8}})
    assert params.read_bytes() == before
    params.write_text("finetune: 3\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"^params\.yaml: section 'finetune' holds '3'"):
        assigned(params, ["finetune.epochs=5"])


def test_a_file_that_already_holds_the_values_is_not_touched(params: Path) -> None:
    params.write_text("# mine\nfinetune:\n  epochs: 4\n", encoding="utf-8")
    before = params.read_bytes()
    assert changed(params, ["finetune.epochs=4"]) == {}
    assert params.read_bytes() == before


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("finetune.epochs", "--set 'finetune.epochs' is not of the form section.key=value"),
        ("epochs=3", "--set 'epochs=3' is not of the form"),
        ("finetune.=3", "is not of the form"),
        ("finetune.epoch=3", "--set: unknown setting 'finetune.epoch', did you mean 'epochs'?"),
        ("fintune.epochs=3", "--set: unknown section 'fintune', did you mean 'finetune'?"),
        ("finetune.epochs=0", "--set: finetune.epochs is 0; allowed: 1 to 1_000"),
        ("finetune.epochs=", "--set: finetune.epochs is 'None'; give a whole number"),
        (
            "finetune.epochs=1" + "0" * 400,
            "--set: finetune.epochs is a number of more than 18 digits; allowed: 1 to 1_000",
        ),
        ("finetune.epochs=1" + "0" * 5000, "--set: finetune.epochs is '1000"),
        (
            "mask.budget=1" + "0" * 400,
            "--set: mask.budget is a number of more than 18 digits; allowed: 0.0001 to 1.0",
        ),
        ("mask.budget=1e999", "--set: mask.budget is inf; allowed: 0.0001 to 1.0"),
        ("mask.budget=.nan", "--set: mask.budget is nan; allowed: 0.0001 to 1.0"),
        ("finetune.epochs=2020-13-01", "--set: finetune.epochs is '2020-13-01'; give a whole number"),
        ("data.text=label", "--set: data.text and data.label are both 'label'"),
        ("data.text=", "--set: data.text is empty; give a text"),
        ("register.name=a/b", "--set: register.name is 'a/b'; allowed: letters, digits"),
        ("mask.budget=1e3", "--set: mask.budget is 1000; allowed: 0.0001 to 1.0"),
    ],
)
def test_nothing_is_written_when_one_assignment_is_refused(params: Path, assignment: str, words: str) -> None:
    before = params.read_bytes()
    with pytest.raises(InputError, match=re.escape(words)):
        changed(params, ["finetune.batch=8", assignment])
    assert params.read_bytes() == before
    assert [path.name for path in params.parent.iterdir()] == ["params.yaml"]


def test_a_separator_is_a_text_and_null_takes_it_away(params: Path) -> None:
    assert changed(params, ["data.separator=|"]) == {"data.separator": (None, "|")}
    assert Settings.load(params).data.separator == "|"
    assert changed(params, ["data.separator=null"]) == {"data.separator": ("|", None)}
    assert Settings.load(params).data.separator is None
    with pytest.raises(InputError, match=r"data\.separator is empty; give a text"):
        changed(params, ["data.separator= "])


def test_assignments_stay_if_what_reads_them_succeeds_and_are_taken_back_if_it_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("# mine\n" + render())
    before = path.read_text()
    with pytest.raises(InputError, match="nosuch"), tried(path, ["base.model=nosuch"]):
        assert Settings.load(path).base.model == "nosuch"
        raise InputError("base.model nosuch was not found")
    assert path.read_text() == before
    assert f"base.model is {Base().model} again, since this failed" in caplog.text
    with tried(path, ["finetune.epochs=3"]):
        pass
    assert Settings.load(path).finetune.epochs == 3
    with pytest.raises(KeyboardInterrupt), tried(path, ["finetune.epochs=4"]):
        raise KeyboardInterrupt
    assert Settings.load(path).finetune.epochs == 4
    with pytest.raises(InputError), tried(path, ["finetune.epochs=5"]):
        path.write_text(render().replace("ngram: 3", "ngram: 2"))
        raise InputError("wrong")
    assert "ngram: 2" in path.read_text(), "what somebody wrote meanwhile stays"


def test_the_export_gates_of_earlier_versions_are_taken_under_their_new_names(
    params: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = params.read_text(encoding="utf-8")
    gates = re.search(r"  min_confident_agreement: .*?(?=\nregister)", written, re.DOTALL)
    assert gates
    params.write_text(
        written.replace(gates.group(), "  agreement: 0.98  # share\n  loss: 0.003  # lost\n"),
        encoding="utf-8",
    )
    with caplog.at_level("WARNING", logger="tokensieve"):
        found = Settings.load(params).export
        Settings.load(params)
    assert (found.min_confident_agreement, found.max_accuracy_drop) == (0.98, 0.003)
    assert [record.message for record in caplog.records] == [
        "params.yaml: export.agreement is now export.min_confident_agreement, set to 0.98",
        "params.yaml: export.loss is now export.max_accuracy_drop, whose default is used",
    ]
    # The next change writes the new names.
    changed(params, ["data.seed=3"])
    assert "agreement: 0.98" in params.read_text(encoding="utf-8")
    assert "\n  agreement:" not in params.read_text(encoding="utf-8")


def test_an_old_default_was_not_chosen_so_the_new_default_counts() -> None:
    assert Settings.of({"export": {"agreement": 0.995, "loss": 0.003}}) == Settings()
    with pytest.raises(
        InputError, match=r"export\.agreement is now export\.min_confident_agreement, and both are set"
    ):
        Settings.of({"export": {"agreement": 0.9, "min_confident_agreement": 0.9}})
    with pytest.raises(InputError, match=r"evaluate\.folds is 1, which leaves nothing to train on"):
        Settings.of({"evaluate": {"folds": 1}})
