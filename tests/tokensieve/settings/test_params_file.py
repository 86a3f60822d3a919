from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tokensieve.errors import InputError
from tokensieve.settings import Settings, changed, render, sections

PARAMS = Path(__file__).parents[3] / "params.yaml"


def test_the_defaults_render_and_load(params: Path) -> None:
    assert Settings.load(params) == Settings()


def test_the_repositorys_file_is_the_rendered_one() -> None:
    assert PARAMS.read_text(encoding="utf-8") == render()


def test_every_setting_has_a_comment_and_occurs_once() -> None:
    lines = [line for line in render().splitlines() if line.startswith("  ")]
    assert len(lines) == sum(len(dataclasses.fields(kind)) for kind in sections().values())
    assert all("  # " in line for line in lines)


def test_changed_values_render_and_load(params: Path) -> None:
    tree = {
        "base": {"model": "models/größe", "pooling": "cls"},
        "data": {"shots": 5, "text_column": "yes"},
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
    wanted = Settings.of({"data": {"label_column": text}})
    params.write_text(render(wanted), encoding="utf-8")
    assert Settings.load(params) == wanted


def test_absent_sections_and_keys_take_their_defaults(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("finetune:\n  max_epochs: 3\n", encoding="utf-8")
    assert Settings.load(path) == Settings.of({"finetune": {"max_epochs": 3}})
    path.write_text("# nothing\n", encoding="utf-8")
    assert Settings.load(path) == Settings()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"finetune: [", "params.yaml is not valid YAML: "),
        (b"a: \xff", "params.yaml is not valid YAML: "),
        (b"- 1", "params.yaml is '[1]'; use sections with keys and values"),
        (b"text", "params.yaml is 'text'; use sections with keys and values"),
        (b"finetune:\n  max_epochs: 1" + b"0" * 5000, "params.yaml is not valid YAML: Exceeds the limit"),
        (b"finetune:\n  max_epochs: 2020-13-01", "params.yaml is not valid YAML: month must be in 1..12"),
        (
            b"data:\n  seed: 7\nmask: {}\ndata:\n  shots: 5\n",
            "params.yaml: line 4 repeats the key 'data' of line 1; write each key once",
        ),
        # libyaml reads this one.
        (
            b"finetune:\n  max_epochs:\t3",
            "params.yaml is not valid YAML: while scanning for the next token found",
        ),
    ],
)
def test_a_file_that_is_not_a_mapping_is_refused(params: Path, content: bytes, words: str) -> None:
    params.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(words)):
        Settings.load(params)


def test_a_missing_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"params\.yaml is missing; create a project with default settings: tokensieve init "
    ):
        Settings.load(tmp_path / "params.yaml")


@pytest.mark.parametrize("shown", ["1e-3", "1E-3", "+1e-3", ".1e-2", "0.001", "1.0e-3"])
def test_a_number_may_have_an_exponent(params: Path, shown: str) -> None:
    params.write_text(f"finetune:\n  learning_rate: {shown}\n", encoding="utf-8")
    assert Settings.load(params).finetune.learning_rate == 0.001
    changed(params, [f"finetune.learning_rate={shown}", "finetune.weight_decay=2e-2"])
    assert Settings.load(params).finetune.weight_decay == 0.02


def test_a_text_that_looks_like_a_number_with_an_exponent_stays_text(params: Path) -> None:
    params.write_text("data:\n  text_column: 1e5\n  label_column: '1e-3'\n", encoding="utf-8")
    assert (Settings.load(params).data.text_column, Settings.load(params).data.label_column) == (
        "1e5",
        "1e-3",
    )
