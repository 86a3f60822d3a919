"""Stage evaluate: fit temperature and thresholds, and measure the model on the test texts."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file

from tasks.cross_fit import is_needed, out_of_fold
from tasks.split import load_part
from tokensieve.data.labels import encode_targets
from tokensieve.evaluation import calibration, metrics
from tokensieve.evaluation.plots import calibration_picture, confusion_picture, labels_picture
from tokensieve.evaluation.report import Targets, report, right, set_apart
from tokensieve.files import atomic_folder, write_json
from tokensieve.inference.decisions import DecisionRule, certainty, sigmoid, softmax
from tokensieve.model.batches import Inputs, tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import load_tokenizer
from tokensieve.project import Layout
from tokensieve.settings import Evaluate, Settings
from tokensieve.training.loop import compute_logits, set_threads


class Fitted(NamedTuple):
    """How logits become answers, and the entries of the report on the fit."""

    rule: DecisionRule
    facts: dict[str, Any]


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
        name: encode_targets(parts[name].labels, classifier.labels, settings.data.label_separator).numpy()
        for name in ("validation", "test")
    }
    measuring = ~set_apart(parts["oos"].texts)
    choosing = found["oos"][~measuring] if "oos" in found else np.empty((0, len(classifier.labels)))
    fitted_on = _calibration_texts(layout, settings, found["validation"], wanted["validation"])
    rule, facts = fit(*fitted_on, choosing, settings.evaluate)
    judged = {"test": found["test"]} | ({"oos": found["oos"][measuring]} if "oos" in found else {})
    with atomic_folder(layout.evaluation) as folder:
        write_json(folder / "report.json", report(judged, wanted["test"], classifier.labels, rule) | facts)
        save_file(logits, folder / "logits.safetensors")
        _draw(folder, found["test"], wanted["test"], classifier.labels, rule)


def fit(found: metrics.Floats, wanted: Targets, outside: metrics.Floats, settings: Evaluate) -> Fitted:
    """Fit the rule on the logits `found` for texts with the targets `wanted`, and those of texts `outside` the scope."""
    several = wanted.ndim == 2
    temperature = calibration.temperature(found, wanted)
    chances_of = sigmoid if several else softmax
    chances, chances_outside = chances_of(found, temperature), chances_of(outside, temperature)
    if several:
        thresholds = metrics.fit_thresholds(chances, np.asarray(wanted, np.float64))
        confidences, is_right = certainty(chances, thresholds), right(chances >= thresholds, wanted)
        # A text out of scope is to get no label: the confidence threshold does not decide that.
        confidences_outside = np.empty(0)
    else:
        thresholds = np.empty(0)
        confidences, is_right = chances.max(1), right(chances.argmax(1)[:, None], wanted)
        confidences_outside = chances_outside.max(1)
    fitted_on = (confidences, is_right, settings.coverage, confidences_outside)
    rule = DecisionRule(
        temperature,
        calibration.threshold(*fitted_on),
        0.0 if several else settings.margin,
        tuple(thresholds.tolist()),
    )
    facts = {
        "temperature": temperature,
        "threshold_interval": calibration.threshold_interval(*fitted_on),
        "calibration_texts": len(found),
        "calibration_oos_texts": len(confidences_outside),
    }
    return Fitted(rule, facts)


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
