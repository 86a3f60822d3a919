from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks import summary as summarizing
from tasks.artifacts import Registration
from tasks.summary import summary
from tokensieve.files import write_json
from tokensieve.inference.manifest import Manifest
from tokensieve.project import Layout
from tokensieve.settings import Settings

SERVED = {
    "test_accuracy": 0.89,
    "test_accuracy_interval": [0.8, 0.95],
    "test_ece": 0.1,
    "test_ece_before": 0.05,
    "per_class": {"a": {}},
}
TORCH = {
    "test_accuracy": 0.9,
    "test_ece": 0.04,
    "test_ece_before": 0.05,
    "temperature": 0.7,
    "calibration_texts": 32,
    "per_class": {},
}


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    layout = Layout(tmp_path)
    for name in ("mask", "evaluation", "validation", "split", "vocabulary", "registration", "onnx"):
        getattr(layout, name).mkdir(parents=True)
    for name in ("model.onnx", "tokenizer.json"):
        (layout.onnx / name).write_bytes(b"{}")
    Manifest(
        ("a", "b"), 0.7, 0.5, 32, "hash", "tiny", {"texts": 96, "agreement": 0.98}, variant="fused"
    ).save(layout.onnx)
    write_json(layout.mask / "report.json", {"trained_parameters": 1, "total_parameters": 2})
    write_json(
        layout.validation / "report.json",
        {"checks": [{"name": "leak", "part": "test", "message": "leaks", "passed": False}]},
    )
    write_json(layout.split / "report.json", {"train": 224, "validation": 32, "test": 64})
    write_json(layout.vocabulary / "report.json", {"saved": 0.0})
    monkeypatch.setattr(
        summarizing, "confirmed", lambda *_: Registration("0", "cards", "1", "models:/cards/1")
    )
    write_json(layout.evaluation / "report.json", TORCH)
    return layout


def summarized(layout: Layout, race: dict[str, Any]) -> dict[str, Any]:
    write_json(layout.onnx / "race.json", {"variants": []} | race)
    return summary(layout, Settings(), {"evaluate": 1.0, "export": None})


def test_the_figures_are_of_the_served_build(layout: Layout) -> None:
    result = summarized(layout, {"served": SERVED})
    assert (result["test_accuracy"], result["torch"]["test_accuracy"]) == (0.89, 0.9)
    assert result["test_accuracy_interval"] == [0.8, 0.95]
    assert result["temperature"] == 0.7
    assert "per_class" not in result
    assert result["skipped"] == ["export"]


def test_worse_calibration_is_a_warning_that_says_on_how_few_texts_it_was_fitted(layout: Layout) -> None:
    warning = summarized(layout, {"served": SERVED})["warnings"][-1]
    assert warning == (
        "scaling by temperature 0.70 made the calibration error on the test texts worse, from 0.0500 to 0.1000. "
        "The temperature was fitted on 32 texts. More validation texts make it surer."
    )
    assert summarized(layout, {"served": SERVED | {"test_ece": 0.054}})["warnings"] == ["leaks"]


def test_an_export_of_an_earlier_version_has_pytorchs_figures(layout: Layout) -> None:
    result = summarized(layout, {})
    assert result["test_accuracy"] == result["torch"]["test_accuracy"] == 0.9
