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
from tokensieve.settings import CHECKS, Settings, changed, render, sections

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


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\t\n\x85"), min_size=1).filter(str.strip))
def test_any_text_renders_and_loads(text: str) -> None:
    wanted = Settings.of({"data": {"text": text}})
    assert yaml.safe_load(render(wanted))["data"]["text"] == text


@pytest.mark.parametrize("text", ["5", "null", "true", "1.5", "a: b", "a # b", "- a", "'a'", "{a", "2020-01-01", "@a", " a ", "a\nb"])
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
        ({"fintune": {}}, "params.yaml: unknown section 'fintune', did you mean 'finetune'?; sections: base, data"),
        ({"zzz": {}}, "unknown section 'zzz'; sections: "),
        ({"finetune": {"epoch": 3}}, "unknown setting 'finetune.epoch', did you mean 'epochs'?; settings of finetune: epochs, steps"),
        ({"finetune": {7: 3}}, "unknown setting 'finetune.7'; settings of"),
        ({"finetune": 3}, "section 'finetune' holds '3'; give keys and values"),
        ({"finetune": None}, "section 'finetune' holds 'None'; give keys and values"),
        ({"finetune": {"epochs": "many"}}, "params.yaml: finetune.epochs is 'many'; give a whole number"),
        ({"finetune": {"epochs": 2.5}}, "finetune.epochs is '2.5'; give a whole number"),
        ({"finetune": {"epochs": True}}, "finetune.epochs is 'True'; give a whole number"),
        ({"finetune": {"epochs": None}}, "finetune.epochs is 'None'; give a whole number"),
        ({"finetune": {"warmup": "some"}}, "finetune.warmup is 'some'; give a number"),
        ({"finetune": {"warmup": False}}, "finetune.warmup is 'False'; give a number"),
        ({"data": {"text": 5}}, "data.text is '5'; give text"),
        ({"data": {"text": " "}}, "data.text is empty; give a text"),
        ({"data": {"shots": "few"}}, "data.shots is 'few'; give a whole number or null"),
        ({"data": {"shots": 0}}, "data.shots is 0; allowed: at least 1"),
        ({"finetune": {"epochs": 0}}, "finetune.epochs is 0; allowed: 1 to 1_000"),
        ({"split": {"test": 0.9}}, "split.test is 0.9; allowed: 0.01 to 0.5"),
        ({"finetune": {"warmup": float("nan")}}, "finetune.warmup is nan; allowed: 0.0 to 1.0"),
        ({"finetune": {"learning_rate": float("inf")}}, "finetune.learning_rate is inf; allowed: 0.0 to 1.0"),
        ({"mask": {"shape": "row"}}, "mask.shape is 'row'; allowed: rows, columns"),
        ({"validate": {"errors": "leak"}}, "validate.errors is 'leak'; give a list, for example ["),
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
    assignments = ["finetune.epochs=5", "data.shots=3", "mask.shape=columns", "finetune.batch=32", "validate.errors=[leak, empty]"]
    assert changed(params, assignments) == {
        "data.shots": (None, 3),
        "validate.errors": (CHECKS[:7], ("leak", "empty")),
        "mask.shape": ("rows", "columns"),
        "finetune.epochs": (10, 5),
    }
    after = Settings.load(params)
    assert (after.finetune.epochs, after.data.shots, after.mask.shape, after.finetune.batch) == (5, 3, "columns", 32)
    assert params.read_text(encoding="utf-8") == render(after)
    assert changed(params, ["data.shots=null"]) == {"data.shots": (3, None)}
    assert [path.name for path in params.parent.iterdir()] == ["params.yaml"]


def test_a_text_may_hold_equals_signs_digits_and_brackets(params: Path) -> None:
    changed(params, ["register.uri=postgresql://host/db?a=b", "data.text='5'", "data.label=[x"])
    after = Settings.load(params)
    assert (after.register.uri, after.data.text, after.data.label) == ("postgresql://host/db?a=b", "5", "[x")


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
        ("mask.budget=1e3", "--set: mask.budget is 1000; allowed: 0.0001 to 1.0"),
    ],
)
def test_nothing_is_written_when_one_assignment_is_refused(params: Path, assignment: str, words: str) -> None:
    before = params.read_bytes()
    with pytest.raises(InputError, match=re.escape(words)):
        changed(params, ["finetune.batch=8", assignment])
    assert params.read_bytes() == before
    assert [path.name for path in params.parent.iterdir()] == ["params.yaml"]
