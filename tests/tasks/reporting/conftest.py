"""A project whose stages have run: their files are written by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tasks.artifacts import FittedRule, MaskFacts, ModelFacts, Registration, SplitSizes, TrainingFacts
from tokensieve.data.examples import Examples
from tokensieve.evaluation.metrics import class_report
from tokensieve.files import write_json, write_text
from tokensieve.inference.manifest import Manifest
from tokensieve.project import Layout
from tokensieve.settings import render

LABELS = ["bill", "card"]
TESTED = [
    ("pay my bill", "bill"),
    ("my private words", "bill"),
    ("card is lost", "card"),
    ("the card", "card"),
]
LOGITS = np.array([[3.0, 0.0], [0.0, 2.0], [0.0, 3.0], [0.0, 1.0]], dtype=np.float32)
HASH = "0123456789abcdef0123456789abcdef.dir"
VERDICT = {
    "grade": "answers by itself",
    "promote": True,
    "sentence": "good: promote it.",
    "good_for": "good enough to answer by itself",
    "advice": "promote it (a linear SVM on TF-IDF gets 50.0% right)",
    "remedies": ["more texts for 'bill' (2 training texts, 1 of 2 right)"],
    "weakest": [],
    "tested_on_one": 0,
}
BASELINE = {"accuracy": 0.5, "accuracy_interval": [0.1, 0.9], "macro_f1": 0.4}


@pytest.fixture
def layout(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A project that is trained, exported and registered as version 2 of model cards."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(database, tmp_path / "mlflow.db")
    layout = Layout(tmp_path)
    write_text(layout.params, render())
    _write_data(layout)
    _write_training(layout)
    _write_evaluation(layout)
    _write_export(layout)
    Registration("0" * 32, "cards", "2", "models:/cards/2").save(layout.registration)
    return layout


def _write_data(layout: Layout) -> None:
    for folder in (layout.validation, layout.split, layout.vocabulary, layout.champion.parent):
        folder.mkdir(parents=True)
    failed = {"name": "few", "part": "train", "passed": False, "message": "train, few: 'bill' has 2 rows"}
    cut = {"texts": 8, "truncated": 2, "share": 0.25, "max_length": 128}
    write_json(
        layout.validation / "report.json", {"checks": [failed], "truncated": cut, "unlabelled": {"train": 3}}
    )
    Examples.of(["a bill", "a card"], ["bill", "card"]).save(layout.split / "train.jsonl")
    Examples.of(*zip(*TESTED, strict=True)).save(layout.split / "test.jsonl")
    write_json(layout.split / "labels.json", LABELS)
    write_json(layout.split / "report.json", {"dropped": {"duplicate": 5, "in_test": 0}})
    SplitSizes(2, 2, 4).save(layout.split)
    version = {"data_hash": HASH, "date": "2026-01-02", "source": "https://me:secret@host/x.csv", "rows": {}}
    write_text(layout.versions, json.dumps(version) + "\n")
    per_class = {"bill": ["pay"], "card": ["lost"]}
    added = {"added": ["topup"], "tokens_before": 100, "tokens_after": 90, "saved": 0.1}
    divided = {"words": 40, "divided": 0.1, "tokens_per_word": 1.25, "excess_tokens": 12}
    report = {"constructs": 2, "per_class": per_class, "fragmentation": divided}
    write_json(layout.vocabulary / "report.json", report | added)


def _write_training(layout: Layout) -> None:
    MaskFacts(False, 12, 100).save(layout.mask)
    modules = {"encoder.layer.1.attention.self.query": [3, 10], "encoder.layer.1.output.dense": [1, 10]}
    report = {"unit": "rows", "score": "construct_fisher", "budget": 0.1, "modules": modules}
    write_json(layout.mask / "report.json", report)
    ModelFacts(tuple(LABELS), 128, "tiny").save(layout.model)
    TrainingFacts(("head", "all")).save(layout.model)
    write_json(layout.model / "environment.json", {"python": "3.11", "tokensieve_commit": "abc123"})
    measured = {"validation_accuracy": 0.5}
    epochs = [{"epoch": i, "train_loss": 1 / i, "validation_loss": 2 / i} | measured for i in (1, 2)]
    write_text(layout.model / "history.jsonl", "".join(json.dumps(epoch) + "\n" for epoch in epochs))


def figures() -> dict[str, Any]:
    """Return the evaluation report of the logits."""
    targets = np.array([LABELS.index(label) for _, label in TESTED])
    return {
        "test_accuracy": 0.75,
        "test_accuracy_interval": [0.2, 0.99],
        "test_macro_f1": 0.73,
        "coverage": 0.75,
        "accepted_accuracy": 0.67,
        "oos_recall": None,
        "oos_texts": 0,
        "test_ece": 0.1,
        "test_ece_before": 0.2,
        "threshold": 0.8,
        "per_class": class_report(targets, LOGITS.argmax(1), LABELS),
    }


def _write_evaluation(layout: Layout) -> None:
    FittedRule(1.0, 0.8).save(layout.evaluation)
    judged = {"baselines": {"majority": BASELINE, "tfidf": None}, "verdict": VERDICT}
    write_json(layout.evaluation / "report.json", figures() | judged)
    save_file({"test": LOGITS}, layout.evaluation / "logits.safetensors")


def _write_export(layout: Layout) -> None:
    layout.onnx.mkdir(parents=True)
    for name in ("model.onnx", "tokenizer.json"):
        write_text(layout.onnx / name, name)
    parity = {"texts": 6, "agreement": 1.0}
    Manifest(tuple(LABELS), 1.0, 0.8, 128, HASH, "tiny", parity, variant="fp32").save(layout.onnx)
    build = {"variant": "fp32", "milliseconds": 4.5, "megabytes": 90.0, "largest_difference": 1e-6}
    served = {key: value for key, value in figures().items() if key != "per_class"} | {"test_macro_f1": 0.7}
    race = {"variants": [build | {"faults": []}], "threads": 1, "served": served}
    write_json(layout.onnx / "race.json", race)
