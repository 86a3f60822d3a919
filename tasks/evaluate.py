"""The stage evaluate: fit the decision rule, and measure the model on the test texts."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.metrics import confusion_matrix
from transformers import PreTrainedTokenizerFast

from tasks.artifacts import FittedRule, load_class_names
from tasks.cross_fit import is_needed, out_of_fold
from tasks.split import load_part
from tokensieve.data.examples import Examples
from tokensieve.data.labels import encode_targets
from tokensieve.evaluation import metrics
from tokensieve.evaluation.baselines import measure_baselines
from tokensieve.evaluation.decision_rule import fit_decision_rule
from tokensieve.evaluation.metrics import Bools, Float64s, Targets
from tokensieve.evaluation.plots import calibration_picture, confusion_picture, labels_picture
from tokensieve.evaluation.predictions import NAME as PREDICTIONS
from tokensieve.evaluation.predictions import write_predictions
from tokensieve.evaluation.report import is_correct, is_for_threshold, report
from tokensieve.evaluation.shortcuts import find_shortcuts, shared_phrases
from tokensieve.evaluation.verdict import ModelOnTest, judge
from tokensieve.files import atomic_folder, write_json
from tokensieve.inference.decisions import DecisionRule, Decisions, decide, sigmoid
from tokensieve.model.batches import Inputs, token_counts, tokenize
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
    logits_of = partial(_logits, classifier, tokenizer, settings)
    tensors = {name: logits_of(part.texts) for name, part in parts.items() if len(part)}
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
    lengths = token_counts(tokenizer, parts["test"].texts)
    cut = np.array(lengths) > settings.base.max_length
    gets = partial(_gets, lambda texts: decide(logits_of(texts).double().numpy(), rule), classifier.labels)
    judged = _judged(layout, settings, parts["test"], decide(logits["test"], rule), figures, cut, gets)
    shown = {name: (parts[name], logits[name]) for name in ("validation", "test")}
    with atomic_folder(layout.evaluation) as folder:
        FittedRule(**asdict(rule)).save(folder)
        write_json(folder / "report.json", figures | entries | judged)
        save_file(tensors, folder / "logits.safetensors")
        write_predictions(folder / PREDICTIONS, shown, classifier.labels, rule, settings.data.label_separator)
        _draw(folder, logits["test"], targets["test"], classifier.labels, rule)


def _logits(
    classifier: Classifier, tokenizer: PreTrainedTokenizerFast, settings: Settings, texts: Sequence[str]
) -> torch.Tensor:
    """Return the logits of texts, float32 [texts, classes]."""
    base = settings.base
    return compute_logits(classifier, Inputs(tokenize(tokenizer, texts, base.max_length, base.truncation)))


def _gets(
    decisions_of: Callable[[Sequence[str]], Decisions],
    labels: Sequence[str],
    texts: Sequence[str],
    label: str,
) -> Bools:
    """Return which texts get a label from the model, bool [texts]."""
    found, column = decisions_of(texts).labels, labels.index(label)
    return np.asarray(found[:, column] if found.dtype == bool else found[:, 0] == column)


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


def _judged(
    layout: Layout,
    settings: Settings,
    test: Examples,
    decisions: Decisions,
    figures: dict[str, Any],
    cut: Bools,
    gets: Callable[[Sequence[str], str], Bools],
) -> dict[str, Any]:
    """Return the entries of the report about the baselines and shortcuts, and the verdict.

    `cut` says which test texts are truncated, bool [texts]. `gets` returns which texts get a label
    from the model.
    """
    train, labels = load_part(layout, "train"), load_class_names(layout.split)
    trained, wanted = (
        encode_targets(part.labels, labels, test.multi_label).numpy() for part in (train, test)
    )
    predicted = decisions.labels if test.multi_label else decisions.labels[:, 0]
    correct = is_correct(decisions.labels, wanted)
    baselines = measure_baselines(train, test.texts, (trained, wanted), correct)
    counts = Counter(name for names in train.labels for name in names)
    phrases = shared_phrases(train.texts, train.labels)
    shortcuts = tuple(find_shortcuts(phrases, test.texts, test.labels, gets))
    verdict = judge(
        ModelOnTest(
            figures=figures,
            baselines=baselines,
            labels=labels,
            train_counts=[counts[label] for label in labels],
            targets=wanted,
            predicted=predicted.astype(wanted.dtype),
            cut=cut,
            max_length=settings.base.max_length,
            truncation=settings.base.truncation,
            shortcuts=shortcuts,
        )
    )
    return {
        "baselines": asdict(baselines),
        "shortcuts": [asdict(own) for own in shortcuts],
        "verdict": asdict(verdict),
    }


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
