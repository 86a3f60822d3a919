"""The stage evaluate: fit the decision rule, and measure the model on the test texts."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.metrics import confusion_matrix

from tasks.artifacts import FittedRule
from tasks.cross_fit import is_needed, out_of_fold
from tasks.split import load_part
from tokensieve.data.labels import encode_targets
from tokensieve.evaluation import metrics
from tokensieve.evaluation.decision_rule import fit_decision_rule
from tokensieve.evaluation.metrics import Float64s, Targets
from tokensieve.evaluation.plots import calibration_picture, confusion_picture, labels_picture
from tokensieve.evaluation.report import is_for_threshold, report
from tokensieve.files import atomic_folder, write_json
from tokensieve.inference.decisions import DecisionRule, sigmoid
from tokensieve.model.batches import Inputs, tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import load_tokenizer
from tokensieve.project import Layout
from tokensieve.settings import Settings
from tokensieve.training.loop import compute_logits, set_threads


def evaluate(layout: Layout, settings: Settings) -> None:
    """Fit temperature and thresholds on texts outside training. Write report, plots and logits.

    The report is of the test texts, and of the out-of-scope texts that did not help to choose the
    threshold.
    """
    set_threads(settings.finetune.threads)
    classifier, tokenizer = Classifier.load(layout.model), load_tokenizer(layout.model)
    parts = {name: load_part(layout, name) for name in ("validation", "test", "oos")}
    tensors = {
        name: compute_logits(
            classifier,
            Inputs(tokenize(tokenizer, part.texts, settings.base.max_length, settings.base.truncation)),
        )
        for name, part in parts.items()
        if len(part)
    }
    logits: dict[str, Float64s] = {name: values.double().numpy() for name, values in tensors.items()}
    targets = {
        name: encode_targets(parts[name].labels, classifier.labels, parts[name].multi_label).numpy()
        for name in ("validation", "test")
    }
    chosen = is_for_threshold(parts["oos"].texts)
    for_threshold, evaluated = np.empty((0, len(classifier.labels))), {"test": logits["test"]}
    if "oos" in logits:
        for_threshold, evaluated["oos"] = logits["oos"][chosen], logits["oos"][~chosen]
    fitted_on = _calibration_texts(layout, settings, logits["validation"], targets["validation"])
    rule, entries = fit_decision_rule(*fitted_on, for_threshold, settings.evaluate)
    figures = report(evaluated, targets["test"], classifier.labels, rule)
    with atomic_folder(layout.evaluation) as folder:
        FittedRule(**asdict(rule)).save(folder)
        write_json(folder / "report.json", figures | entries)
        save_file(tensors, folder / "logits.safetensors")
        _draw(folder, logits["test"], targets["test"], classifier.labels, rule)


def _calibration_texts(
    layout: Layout, settings: Settings, logits: Float64s, targets: Targets
) -> tuple[Float64s, Targets]:
    """Return the logits and targets to calibrate on.

    They are of the validation texts and, if these are few, also of cross-fitted training texts.
    """
    if not is_needed(layout, settings):
        return logits, targets
    more, more_targets = out_of_fold(layout, settings, torch.from_numpy(logits).float())
    return np.concatenate([logits, more.double().numpy()]), np.concatenate([targets, more_targets.numpy()])


def _draw(folder: Path, logits: Float64s, targets: Targets, labels: list[str], rule: DecisionRule) -> None:
    """Draw the calibration and the confusion matrix of the test texts.

    For multi-label data, draw the F1 of each label instead of the confusion matrix.
    """
    multilabel = bool(rule.thresholds)
    before, after = (
        metrics.reliability(logits, targets, temperature) for temperature in (1.0, rule.temperature)
    )
    calibration_picture(before, after, folder / "calibration.png", multilabel)
    if multilabel:
        predicted = sigmoid(logits, rule.temperature) >= np.array(rule.thresholds)
        labels_picture(metrics.class_report(targets, predicted, labels), folder / "labels.png")
    else:
        matrix = confusion_matrix(targets, logits.argmax(1), labels=range(len(labels))).tolist()
        _write_confusion(folder / "confusion.csv", matrix, labels)
        confusion_picture(matrix, labels, folder / "confusion.png")


def _write_confusion(path: Path, matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> None:
    """Write the confusion matrix as CSV: a row per true class, a column per predicted class."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["true \\ predicted", *labels])
        writer.writerows([label, *row] for label, row in zip(labels, matrix, strict=True))
