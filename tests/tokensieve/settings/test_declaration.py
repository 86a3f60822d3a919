from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokensieve.errors import InputError
from tokensieve.settings import Data, Settings, render

PARAMS = Path(__file__).parents[3] / "params.yaml"


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (
            {"fintune": {}},
            "params.yaml: unknown section 'fintune'. Did you mean 'finetune'? Sections: base, data",
        ),
        ({"zzz": {}}, "unknown section 'zzz'. Sections: "),
        (
            {"finetune": {"epoch": 3}},
            "unknown setting 'finetune.epoch'. Did you mean 'max_epochs'? Settings of finetune: max_epochs, "
            "max_steps",
        ),
        ({"finetune": {7: 3}}, "unknown setting 'finetune.7'. Settings of"),
        ({"finetune": 3}, "section 'finetune' is '3'; use keys and values"),
        ({"finetune": None}, "section 'finetune' is 'None'; use keys and values"),
        (
            {"finetune": {"max_epochs": "many"}},
            "params.yaml: finetune.max_epochs is 'many'; use a whole number (allowed: 1 to 1000",
        ),
        ({"finetune": {"max_epochs": 2.5}}, "finetune.max_epochs is '2.5'; use a whole number"),
        ({"finetune": {"max_epochs": True}}, "finetune.max_epochs is 'True'; use a whole number"),
        ({"finetune": {"max_epochs": None}}, "finetune.max_epochs is 'None'; use a whole number"),
        ({"finetune": {"warmup": "some"}}, "finetune.warmup is 'some'; use a number (allowed: 0.0 to 1.0"),
        ({"finetune": {"warmup": False}}, "finetune.warmup is 'False'; use a number"),
        ({"data": {"text_column": 5}}, "data.text_column is '5'; use text in quotes"),
        ({"data": {"label_column": False}}, "data.label_column is 'False'; use text in quotes"),
        (
            {"data": {"label_column": 10**400}},
            "data.label_column is a number of more than 18 digits; use text in quotes",
        ),
        (
            {"data": {"text_column": "a", "label_column": "a"}},
            "data.text_column and data.label_column are both 'a'; use two different columns",
        ),
        ({"data": {"id_column": "text"}}, "data.text_column and data.id_column are both 'text'"),
        ({"data": {"text_column": "label"}}, "data.text_column and data.label_column are both 'label'"),
        ({"mask": {"unit": 5}}, "mask.unit is '5'; use text (allowed: rows, columns"),
        (
            {"register": {"name": 5}},
            "register.name is '5'; use text in quotes or null (allowed: letters, digits",
        ),
        ({"data": {"text_column": " "}}, "data.text_column is empty; use text"),
        ({"data": {"shots": "few"}}, "data.shots is 'few'; use a whole number or null (allowed: at least 1"),
        ({"data": {"shots": 0}}, "data.shots is 0 (allowed: at least 1"),
        ({"finetune": {"max_epochs": 0}}, "finetune.max_epochs is 0 (allowed: 1 to 1000"),
        ({"split": {"test": 0.9}}, "split.test is 0.9 (allowed: 0.01 to 0.5"),
        ({"finetune": {"warmup": float("nan")}}, "finetune.warmup is nan (allowed: 0.0 to 1.0"),
        ({"finetune": {"learning_rate": float("inf")}}, "finetune.learning_rate is inf (allowed: 0.0 to 1.0"),
        (
            {"finetune": {"learning_rate": 10**400}},
            "finetune.learning_rate is a number of more than 18 digits (allowed: 0.0 to 1.0",
        ),
        (
            {"finetune": {"max_epochs": 10**400}},
            "finetune.max_epochs is a number of more than 18 digits (allowed: 1 to 1000",
        ),
        (
            {"finetune": {"max_epochs": -(10**400)}},
            "finetune.max_epochs is a number of more than 18 digits (allowed: 1 to 1000",
        ),
        (
            {"finetune": {"max_epochs": float("inf")}},
            "finetune.max_epochs is 'inf'; use a whole number (allowed: 1 to 1000",
        ),
        ({"data": {"shots": 10**400}}, "data.shots is a number of more than 18 digits (allowed: at least 1"),
        ({"schedule": {"frozen_layers": 1.0}}, "schedule.frozen_layers is 1 (allowed: 0.0 to 0.99"),
        ({"mask": {"unit": "row"}}, "mask.unit is 'row' (allowed: rows, columns"),
        (
            {"validate": {"errors": "leak"}},
            "validate.errors is 'leak'; use a list, for example [columns, empty] (allowed: columns, empty",
        ),
        ({"validate": {"errors": ["leek"]}}, "validate.errors contains 'leek' (allowed: columns, empty"),
    ],
)
def test_a_bad_setting_is_refused_by_name(params: Path, tree: dict[str, Any], words: str) -> None:
    params.write_text(yaml.safe_dump(tree), encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        Settings.load(params)
    assert "\n" not in str(caught.value)


def test_a_section_made_in_code_is_checked_too() -> None:
    with pytest.raises(InputError, match=r"^mask\.budget is 2 \(allowed: 0\.0001 to 1\.0\)$"):
        dataclasses.replace(Settings().mask, budget=2)


@pytest.mark.parametrize("name", ["a/b", "a:b", "100%", "..", ".", "a\n", "_a", "/a"])
def test_a_model_name_that_the_registry_refuses_is_refused(name: str) -> None:
    with pytest.raises(
        InputError,
        match=(
            r"register\.name is .* \(allowed: letters, digits, spaces and \. _ -, "
            r"starting with a letter or digit\)$"
        ),
    ):
        Settings.of({"register": {"name": name}})


@pytest.mark.parametrize("name", ["classifier", "Größe 2.0", "a_b-c", "7"])
def test_a_model_name_may_hold_spaces_points_and_dashes(name: str) -> None:
    assert Settings.of({"register": {"name": name}}).register.name == name


def test_one_calibration_fold_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"^evaluate\.calibration_folds is 1, which leaves no text to train on"
    ):
        dataclasses.replace(Settings().evaluate, calibration_folds=1)


def test_a_repeated_column_is_named() -> None:
    with pytest.raises(InputError, match=r"data\.text_column has 'subject' 2 times; name it once"):
        Data(text_column=("subject", "body", "subject"))


@pytest.mark.parametrize("prompt", [None, "", "  ", "\ud800", 5, ["query: "]])
def test_a_prompt_is_a_text_or_one_of_two_words(prompt: Any) -> None:
    with pytest.raises(
        InputError, match=r'base\.prompt .*\(allowed: auto, none, or a text such as "query: "\)'
    ):
        Settings.of({"base": {"prompt": prompt}})


@pytest.mark.parametrize("prompt", ["auto", "none", "query: ", "Instruct: sort\nQuery: ", "为这个句子："])
def test_a_prompt_is_kept_with_its_spaces(prompt: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(render(Settings.of({"base": {"prompt": prompt}})), encoding="utf-8")
    assert Settings.load(path).base.prompt == prompt
