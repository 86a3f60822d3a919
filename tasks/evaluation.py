"""Stage evaluate: what the answers to the test part are worth, their calibration, and when to say "don't know"."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
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
from tokensieve.labels import targets
from tokensieve.layout import Layout
from tokensieve.plots import calibration_picture, confusion_picture, labels_picture
from tokensieve.settings import Evaluate, Settings
from tokensieve.training import logits_of, use_threads

Chances = Mapping[str, metrics.Floats]  # by part


def evaluate(layout: Layout, settings: Settings) -> None:
    """Fit temperature and thresholds on validation, measure on test, and write the report, the pictures and the logits."""
    use_threads(settings.finetune.threads)
    classifier, tokenizer = Classifier.load(layout.model), load_tokenizer(layout.model)
    parts = {name: load_part(layout, name) for name in ("validation", "test", "oos")}
    logits = {
        name: logits_of(classifier, Inputs(tokenized(tokenizer, part.texts, settings.base.max_length, settings.base.truncation)))
        for name, part in parts.items()
        if len(part)
    }
    several = settings.data.separator is not None
    floats = {name: found.double().numpy() for name, found in logits.items()}
    wanted = {name: targets(parts[name].labels, classifier.labels, settings.data.separator).numpy() for name in ("validation", "test")}

    temperature = metrics.fit_temperature(floats["validation"], wanted["validation"])
    chances = {name: (metrics.presence if several else metrics.probabilities)(found, temperature) for name, found in floats.items()}
    before, after = (metrics.reliability(floats["test"], wanted["test"], t) for t in (1.0, temperature))
    with replaced(layout.evaluation) as folder:
        measured = (_several if several else _one)(chances, wanted, classifier.labels, settings.evaluate, folder)
        calibration = {
            "test_ece_before": metrics.calibration_error(before),
            "test_ece": metrics.calibration_error(after),
            "temperature": temperature,
        }
        write_json(folder / "report.json", measured | calibration)
        save_file(logits, folder / "logits.safetensors")
        calibration_picture(before, after, folder / "calibration.png", several)


def _one(chances: Chances, wanted: Mapping[str, metrics.Ints], labels: list[str], settings: Evaluate, folder: Path) -> dict[str, Any]:
    """The report on answers of one label; confusions are written and drawn into `folder`."""
    confidences = {name: found.max(1) for name, found in chances.items()}
    right = {name: chances[name].argmax(1) == wanted[name] for name in wanted}
    leads = {name: metrics.lead(found) for name, found in chances.items()}
    threshold = metrics.fit_threshold(confidences["validation"], right["validation"], settings.coverage)
    sure = {name: (confidences[name] >= threshold) & (leads[name] >= settings.margin) for name in chances}
    matrix = metrics.confusion(wanted["test"], chances["test"].argmax(1), len(labels))
    _write_confusion(folder / "confusion.csv", matrix.tolist(), labels)
    confusion_picture(matrix.tolist(), labels, folder / "confusion.png")
    return {
        "test_accuracy": float(np.trace(matrix) / matrix.sum()),
        "test_macro_f1": metrics.macro_f1(matrix),
        "threshold": threshold,
        "margin": settings.margin,
        **_accepted(sure["test"], right["test"]),
        "oos_recall": float((~sure["oos"]).mean()) if "oos" in chances else None,
        "per_class": metrics.per_class(matrix, labels),
    }


def _several(chances: Chances, wanted: Mapping[str, metrics.Floats], labels: list[str], settings: Evaluate, folder: Path) -> dict[str, Any]:
    """The report on answers of any number of labels; what each label is worth is drawn into `folder`.

    An answer is right if all its labels are; a text out of scope is told if it gets none.
    """
    thresholds = metrics.fit_thresholds(chances["validation"], wanted["validation"])
    decided = {name: found >= thresholds for name, found in chances.items()}
    confidences = {name: metrics.certainty(found, thresholds) for name, found in chances.items()}
    right = {name: metrics.exact_match(decided[name], wanted[name]) for name in wanted}
    threshold = metrics.fit_threshold(confidences["validation"], right["validation"], settings.coverage)
    micro_f1, macro_f1 = metrics.label_f1(decided["test"], wanted["test"])
    per_label = metrics.per_label(decided["test"], wanted["test"], thresholds, labels)
    labels_picture(per_label, folder / "labels.png")
    return {
        "test_exact_match": float(right["test"].mean()),
        "test_micro_f1": micro_f1,
        "test_macro_f1": macro_f1,
        "threshold": threshold,
        **_accepted(confidences["test"] >= threshold, right["test"]),
        "oos_recall": float((~decided["oos"].any(1)).mean()) if "oos" in chances else None,
        "per_class": per_label,
        "thresholds": thresholds.tolist(),
    }


def _accepted(accepted: metrics.Bools, right: metrics.Bools) -> dict[str, float | None]:
    return {"coverage": float(accepted.mean()), "accepted_accuracy": float(right[accepted].mean()) if accepted.any() else None}


def _write_confusion(path: Path, matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["true \\ predicted", *labels])
        writer.writerows([label, *row] for label, row in zip(labels, matrix, strict=True))
