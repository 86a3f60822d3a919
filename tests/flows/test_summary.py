from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows import summary as summarizing
from flows.summary import figures, summarize, summary_text
from tasks.artifacts import MaskFacts, Registration, SplitSizes
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
    MaskFacts(False, 1, 2).save(layout.mask)
    write_json(
        layout.validation / "report.json",
        {"checks": [{"name": "leak", "part": "test", "message": "leaks", "passed": False}]},
    )
    SplitSizes(224, 32, 64).save(layout.split)
    write_json(layout.vocabulary / "report.json", {"saved": 0.0})
    monkeypatch.setattr(
        summarizing, "confirmed", lambda *_: Registration("0", "cards", "1", "models:/cards/1")
    )
    write_json(layout.evaluation / "report.json", TORCH)
    return layout


def summarized(layout: Layout, race: dict[str, Any]) -> dict[str, Any]:
    write_json(layout.onnx / "race.json", {"variants": []} | race)
    return summarize(layout, Settings(), {"evaluate": 1.0, "export": None}, None)


def test_the_figures_are_of_the_served_build(layout: Layout) -> None:
    result = summarized(layout, {"served": SERVED})
    assert (result["test_accuracy"], result["torch"]["test_accuracy"]) == (0.89, 0.9)
    assert result["test_accuracy_interval"] == [0.8, 0.95]
    assert result["temperature"] == 0.7
    assert "per_class" not in result
    assert result["skipped"] == ["export"]


def test_the_summary_has_the_address_of_the_run_in_mlflows_pages(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = Registration("0a", "cards", "1", "models:/cards/1", "7")
    monkeypatch.setattr(summarizing, "confirmed", lambda *_: registered)
    path = "/#/experiments/7/runs/0a?workflowType=machine_learning"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert summarized(layout, {})["run_page"] == f"http://127.0.0.1:5000{path}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example/base/")
    assert summarized(layout, {})["run_page"] == f"https://mlflow.example/base{path}"


def test_worse_calibration_is_a_warning_that_says_on_how_few_texts_it_was_fitted(layout: Layout) -> None:
    warning = summarized(layout, {"served": SERVED})["warnings"][-1]
    assert warning == (
        "scaling by temperature 0.70 made the calibration error on the test texts worse, "
        "from 0.0500 to 0.1000. The temperature was fitted on 32 texts. "
        "More validation texts make the fit more certain."
    )
    assert summarized(layout, {"served": SERVED | {"test_ece": 0.054}})["warnings"] == ["leaks"]


def test_an_export_of_an_earlier_version_has_pytorchs_figures(layout: Layout) -> None:
    result = summarized(layout, {})
    assert result["test_accuracy"] == result["torch"]["test_accuracy"] == 0.9


RESULT: dict[str, Any] = {
    "test_accuracy": 0.9,
    "test_accuracy_interval": [0.861, 0.931],
    "test_macro_f1": 0.88,
    "torch": {"test_accuracy": 0.91, "test_macro_f1": 0.88},
    "test_ece": 0.108,
    "test_ece_interval": [0.05, 0.16],
    "test_ece_before": 0.058,
    "calibration_is_worse": True,
    "accepted_accuracy": 0.95,
    "coverage": 0.8,
    "threshold": 0.61,
    "threshold_interval": [0.5, 0.7],
    "calibration_texts": 250,
    "calibration_oos_texts": 40,
    "oos_recall": 0.5,
    "oos_texts": 80,
    "rows": {"train": 220, "validation": 30, "test": 200},
    "trained_parameters": 12,
    "total_parameters": 100,
    "tokens_saved": 0,
    "variant": "mixed",
    "parity": {
        "texts": 350,
        "agreement": 0.98,
        "largest_difference": 0.1,
        "confident_texts": 301,
        "confident_agreement": 1.0,
        "proven_agreement": 0.9901,
    },
    "seconds": {},
    "skipped": [],
    "data_hash": "abc",
}


def test_a_run_of_an_earlier_version_is_shown_as_it_was() -> None:
    old = {
        key: value
        for key, value in RESULT.items()
        if "interval" not in key and key not in ("torch", "calibration_texts", "oos_texts")
    }
    shown = dict(figures(old | {"parity": {"texts": 30, "agreement": 0.98}}))
    assert shown["test accuracy"] == "0.9000"
    assert shown["served build: mixed"] == "as PyTorch on 98.00% of 30 texts"


def test_figures_say_of_which_texts_they_are_and_how_sure() -> None:
    shown = dict(figures(RESULT))
    assert shown["test accuracy"] == "0.9000 (0.861 to 0.931); PyTorch 0.9100"
    assert shown["test macro F1"] == "0.8800"
    assert shown["calibration error"] == "0.1080 (0.050 to 0.160); without scaling 0.0580: worse"
    assert shown["confident answers (≥ 0.610)"] == "80.0% of the test texts, 0.9500 of them right"
    assert (
        shown["confidence threshold"]
        == "0.610 (0.500 to 0.700), fitted on 250 texts (training texts among them) and 40 out of scope"
    )
    assert shown["out-of-scope recall"] == "50.0% of 80 texts"
    assert (
        shown["served build: mixed"]
        == "as PyTorch on 98.00% of 350 texts, on 100.00% of 301 confident answers (at least 99.0%)"
    )


def test_a_threshold_of_validation_alone_says_so() -> None:
    shown = dict(figures(RESULT | {"calibration_texts": 30, "calibration_oos_texts": 0}))
    assert shown["confidence threshold"] == "0.610 (0.500 to 0.700), fitted on 30 texts"


UNMEASURED = {"accepted_accuracy": None, "oos_recall": None, "threshold": 0.5, "calibration_oos_texts": 0}
JUDGED: dict[str, Any] = {
    "baselines": {
        "majority": {"accuracy": 0.1, "accuracy_interval": [0.05, 0.2]},
        "tfidf": {"accuracy": 0.91, "accuracy_interval": [0.86, 0.95]},
    },
    "verdict": {
        "sentence": "a linear SVM on TF-IDF is better: do not promote it.",
        "promote": False,
        "weakest": [{"label": "bill", "correct": 0, "texts": 1, "train_texts": 2}],
        "tested_on_one": 1,
    },
}


def test_the_verdict_is_first_and_names_the_baselines(layout: Layout) -> None:
    write_json(layout.evaluation / "report.json", TORCH | JUDGED)
    served = {"served": SERVED | UNMEASURED}
    result = summarized(layout, served)
    text = summary_text(result, layout)
    assert text.startswith("A linear SVM on TF-IDF is better: do not promote it.\n")
    assert "promote it    tokensieve promote" not in text
    shown = dict(figures(result))
    assert shown["baseline: TF-IDF and linear SVM"] == "0.9100 (0.860 to 0.950)"
    assert shown["weakest classes"] == "'bill' (2 training texts, tested on 1 text, wrong)"
    assert shown["classes tested on 1 text"] == "1"


def test_likely_label_errors_bring_the_command_that_takes_corrections_in(layout: Layout) -> None:
    result = summarized(layout, {"served": SERVED | UNMEASURED})
    assert "correct it" not in summary_text(result, layout)
    text = summary_text(result | {"label_errors": 67}, layout)
    review = layout.audit / "review.csv"
    command = f"tokensieve data add --project {layout.root} --review {review}"
    assert f"\ncorrect it    fill in right_label in {review}, then: {command}\n" in text


def test_an_evaluation_of_an_earlier_version_has_no_verdict(layout: Layout) -> None:
    served = {"served": SERVED | UNMEASURED}
    text = summary_text(summarized(layout, served), layout)
    assert "TF-IDF" not in text
    assert f"\npromote it    tokensieve promote --project {layout.root} --version 1\n" in text
