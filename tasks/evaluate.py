"""Stage evaluate: fit temperature and thresholds, and measure the model on the test texts."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from tasks.artifacts import FittedRule
from tasks.cross_fit import is_needed, out_of_fold
from tasks.split import load_part
from tokensieve.data.labels import encode_targets
from tokensieve.evaluation import metrics
from tokensieve.evaluation.decision_rule import fit_decision_rule
from tokensieve.evaluation.plots import calibration_picture, confusion_picture, labels_picture
from tokensieve.evaluation.report import Targets, is_for_threshold, report
from tokensieve.files import atomic_folder, write_json
from tokensieve.inference.decisions import DecisionRule, sigmoid
from tokensieve.model.batches import Inputs, tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import load_tokenizer
from tokensieve.project import Layout
from tokensieve.settings import Settings
from tokensieve.training.loop import compute_logits, set_threads


def evaluate(layout: Layout, settings: Settings) -> None:
    """Fit temperature and thresholds on texts that were not trained on, measure on test, and write report, pictures and logits."""
    set_threads(settings.finetune.threads)
    classifier, tokenizer = Classifier.load(layout.model), load_tokenizer(layout.model)
    parts = {name: load_part(layout, name) for name in ("validation", "test", "oos")}
    logits = {
        name: compute_logits(
            classifier,
            Inputs(tokenize(tokenizer, part.texts, settings.base.max_length, settings.base.truncation)),
        )
        for name, part in parts.items()
        if len(part)
    }
    found: dict[str, metrics.Floats] = {name: values.double().numpy() for name, values in logits.items()}
    wanted = {
        name: encode_targets(parts[name].labels, classifier.labels, parts[name].multi_label).numpy()
        for name in ("validation", "test")
    }
    measuring = ~is_for_threshold(parts["oos"].texts)
    choosing = found["oos"][~measuring] if "oos" in found else np.empty((0, len(classifier.labels)))
    fitted_on = _calibration_texts(layout, settings, found["validation"], wanted["validation"])
    rule, facts = fit_decision_rule(*fitted_on, choosing, settings.evaluate)
    judged = {"test": found["test"]} | ({"oos": found["oos"][measuring]} if "oos" in found else {})
    with atomic_folder(layout.evaluation) as folder:
        FittedRule(**asdict(rule)).save(folder)
        write_json(folder / "report.json", report(judged, wanted["test"], classifier.labels, rule) | facts)
        save_file(logits, folder / "logits.safetensors")
        _draw(folder, found["test"], wanted["test"], classifier.labels, rule)


def _calibration_texts(
    layout: Layout, settings: Settings, found: metrics.Floats, wanted: Targets
) -> tuple[metrics.Floats, Targets]:
    """Return logits and targets to calibrate on: of validation, and if that is small, of the training texts, cross-fitted."""
    if not is_needed(layout, settings):
        return found, wanted
    more, theirs = out_of_fold(layout, settings, torch.from_numpy(found).float())
    return np.concatenate([found, more.double().numpy()]), np.concatenate([wanted, theirs.numpy()])


def _draw(
    folder: Path, found: metrics.Floats, wanted: Targets, labels: list[str], rule: DecisionRule
) -> None:
    """Draw the reliability of the test's answers, and their confusions or what each label is worth."""
    several = bool(rule.thresholds)
    before, after = (
        metrics.reliability(found, wanted, temperature) for temperature in (1.0, rule.temperature)
    )
    calibration_picture(before, after, folder / "calibration.png", several)
    if several:
        thresholds = np.array(rule.thresholds)
        decided = sigmoid(found, rule.temperature) >= thresholds
        labels_picture(
            metrics.per_label(decided, np.asarray(wanted, np.float64), thresholds, labels),
            folder / "labels.png",
        )
    else:
        matrix = metrics.confusion(np.asarray(wanted, np.int64), found.argmax(1), len(labels)).tolist()
        _write_confusion(folder / "confusion.csv", matrix, labels)
        confusion_picture(matrix, labels, folder / "confusion.png")


def _write_confusion(path: Path, matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["true \\ predicted", *labels])
        writer.writerows([label, *row] for label, row in zip(labels, matrix, strict=True))
