"""Stage evaluate: accuracy, F1, confusion and calibration on the test part, and when to say "don't know"."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from tasks.splitting import load_part
from tokensieve import metrics
from tokensieve.base import load_tokenizer
from tokensieve.classifier import Classifier
from tokensieve.folder import replaced, write_json
from tokensieve.inputs import Inputs, tokenized
from tokensieve.layout import Layout
from tokensieve.plots import calibration_picture, confusion_picture
from tokensieve.settings import Settings
from tokensieve.training import logits_of, use_threads


def evaluate(layout: Layout, settings: Settings) -> None:
    """Fit temperature and threshold on validation, measure on test, and write the report, the pictures and the logits."""
    use_threads(settings.finetune.threads)
    classifier, tokenizer = Classifier.load(layout.model), load_tokenizer(layout.model)
    parts = {name: load_part(layout, name) for name in ("validation", "test", "oos")}
    logits = {
        name: logits_of(classifier, Inputs(tokenized(tokenizer, part.texts, settings.base.max_length)))
        for name, part in parts.items()
        if len(part)
    }
    floats = {name: found.double().numpy() for name, found in logits.items()}
    place = {label: i for i, label in enumerate(classifier.labels)}
    checked, tested = (np.array([place[label] for label in parts[name].labels]) for name in ("validation", "test"))

    temperature = metrics.fit_temperature(floats["validation"], checked)
    threshold = metrics.fit_threshold(floats["validation"], checked, temperature, settings.evaluate.coverage)
    matrix = metrics.confusion(tested, floats["test"].argmax(1), len(place))
    before, after = (metrics.reliability(floats["test"], tested, t) for t in (1.0, temperature))
    accepted = _accepted(floats["test"], temperature, threshold)
    report: dict[str, Any] = {
        "test_accuracy": float(np.trace(matrix) / matrix.sum()),
        "test_macro_f1": metrics.macro_f1(matrix),
        "test_ece_before": metrics.calibration_error(before),
        "test_ece": metrics.calibration_error(after),
        "temperature": temperature,
        "threshold": threshold,
        "coverage": float(accepted.mean()),
        "accepted_accuracy": float((floats["test"].argmax(1) == tested)[accepted].mean()) if accepted.any() else None,
        "oos_recall": float(1 - _accepted(floats["oos"], temperature, threshold).mean()) if "oos" in floats else None,
        "per_class": metrics.per_class(matrix, classifier.labels),
    }
    with replaced(layout.evaluation) as folder:
        write_json(folder / "report.json", report)
        save_file(logits, folder / "logits.safetensors")
        _write_confusion(folder / "confusion.csv", matrix.tolist(), classifier.labels)
        confusion_picture(matrix.tolist(), classifier.labels, folder / "confusion.png")
        calibration_picture(before, after, folder / "calibration.png")


def _accepted(logits: metrics.Floats, temperature: float, threshold: float) -> Any:
    return metrics.probabilities(logits, temperature).max(1) >= threshold


def _write_confusion(path: Path, matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["true \\ predicted", *labels])
        writer.writerows([label, *row] for label, row in zip(labels, matrix, strict=True))
