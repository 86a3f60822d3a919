from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from tokensieve.errors import InputError
from tokensieve.settings import Settings, assigned, changed, sections
from tokensieve.settings.renamed import NEW_NAMES, NEW_VALUES, log_renamed, renamed


def test_new_names_are_settings_and_old_names_are_not() -> None:
    known = {f"{section}.{spec.name}" for section, kind in sections().items() for spec in fields(kind)}
    assert set(NEW_NAMES.values()) | set(NEW_VALUES) <= known
    assert not known & set(NEW_NAMES)


def test_old_names_and_values_are_read(caplog: pytest.LogCaptureFixture) -> None:
    old = {
        "data": {"text": "question", "separator": "|"},
        "mask": {"score": "positions", "shape": "columns", "open": 0.5, "frozen": 0.2},
        "schedule": {"head_epochs": 0.1},
        "vocabulary": {"ngram": 2},
    }
    assert Settings.of(old, "old names") == Settings.of(
        {
            "data": {"text_column": "question", "label_separator": "|"},
            "mask": {"score": "fisher", "unit": "columns"},
            "schedule": {"head_epochs": 0.1, "all_layer_epochs": 0.5, "frozen_layers": 0.2},
            "vocabulary": {"max_words": 2},
        }
    )
    assert [record.message for record in caplog.records] == [
        "old names: data.text is now data.text_column, data.separator is now data.label_separator, "
        "vocabulary.ngram is now vocabulary.max_words, and 4 more"
    ]


def test_old_names_are_reported_once(params: Path, caplog: pytest.LogCaptureFixture) -> None:
    params.write_text("mask:\n  open: 0.25\n", encoding="utf-8")
    found = Settings.load(params), assigned(params, []), assigned(params, ["mask.head=0.125"])
    assert [settings.schedule.all_layer_epochs for settings in found] == [0.25] * 3
    assert found[2].schedule.head_epochs == 0.125
    assert [record.message for record in caplog.records] == [
        "params.yaml: mask.open is now schedule.all_layer_epochs",
        "--set: mask.head is now schedule.head_epochs",
    ]


def test_a_changed_file_has_the_new_names(params: Path) -> None:
    params.write_text("mask:\n  open: 0.5\n", encoding="utf-8")
    assert changed(params, ["mask.distance=1.5"]) == {"schedule.far_task_ratio": (1.2, 1.5)}
    text = params.read_text(encoding="utf-8")
    assert "  all_layer_epochs: 0.5 " in text
    assert "  far_task_ratio: 1.5 " in text
    assert "  open:" not in text


@pytest.mark.parametrize("text", ["mask.open=2", "schedule.all_layer_epochs=2"])
def test_a_wrong_value_is_reported_under_the_new_name(params: Path, text: str) -> None:
    with pytest.raises(
        InputError, match=r"^--set: schedule\.all_layer_epochs is 2 \(allowed: 0\.0 to 1\.0\)$"
    ):
        assigned(params, [text])


def test_old_defaults_of_the_export_limits_become_the_new_defaults() -> None:
    assert Settings.of({"export": {"agreement": 0.995, "loss": 0.003}}) == Settings()
    assert Settings.of({"export": {"agreement": 0.98}}).export.min_confident_agreement == 0.98


def test_a_setting_under_both_names_is_refused() -> None:
    message = "settings: mask.open is now schedule.all_layer_epochs, and both are set; remove mask.open"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Settings.of({"mask": {"open": 0.5}, "schedule": {"all_layer_epochs": 0.5}})


@pytest.mark.parametrize("tree", [{"mask": 3}, {"mask": None}, {"mask": {"open": 0.1}, "schedule": 3}])
def test_sections_that_are_no_mappings_are_left_to_the_checks(tree: dict[str, object]) -> None:
    assert renamed(tree, "x")[0].keys() >= tree.keys()
    with pytest.raises(InputError, match="use keys and values"):
        Settings.of(tree)


def test_without_old_names_nothing_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    log_renamed("params.yaml", renamed({"mask": {"budget": 0.2}}, "params.yaml")[1])
    assert caplog.records == []
