"""The evaluation report of a model, and the comparison of an exported variant with PyTorch.

Both are computed from logits. The PyTorch model and every exported variant are measured by the same
functions, so that their figures can be compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score

from tokensieve.data.normalize import normalize_text
from tokensieve.evaluation import intervals, metrics
from tokensieve.evaluation.metrics import Bools, Targets
from tokensieve.inference.decisions import DecisionRule, Decisions, Logits, decide

MIN_OUT_OF_SCOPE = 10  # with fewer out-of-scope texts, the threshold is chosen without them


@dataclass(frozen=True)
class Comparison:
    """How the predictions of an exported variant differ from those of PyTorch on the same texts.

    Accuracy, coverage and calibration are measured on the texts with labels. The p-values are those
    of an exact McNemar test: the probability of such a difference between two equally good models.

    Attributes:
        texts: Number of texts.
        largest_difference: Largest difference of the logits.
        agreement: Share of the texts with the same labels.
        confident_texts: Number of texts on which PyTorch or the variant is confident.
        confident_agreement: Share of the confident texts with the same labels.
        proven_agreement: The lower bound of `confident_agreement` at 95% confidence.
        accuracy_drop: PyTorch's accuracy minus that of the variant.
        accuracy_drop_chance: The p-value of this drop.
        coverage_change: The variant's share of confident predictions minus that of PyTorch.
        coverage_change_chance: The p-value of this change.
        calibration_rise: The variant's calibration error minus that of PyTorch.
    """

    texts: int
    largest_difference: float
    agreement: float
    confident_texts: int
    confident_agreement: float
    proven_agreement: float
    accuracy_drop: float
    accuracy_drop_chance: float
    coverage_change: float
    coverage_change_chance: float
    calibration_rise: float


def is_correct(labels: NDArray[Any], targets: Targets) -> Bools:
    """Return which texts are predicted with exactly their label or labels, bool [texts].

    Args:
        labels: The predicted labels, in the form of `Decisions.labels`.
        targets: int64 [texts], or for multi-label data 0 and 1 [texts, classes].
    """
    return np.asarray((labels == targets.reshape(len(targets), -1)).all(1))


def compare(found: Logits, expected: Logits, targets: Targets, rule: DecisionRule) -> Comparison:
    """Compare the logits of a variant with those of PyTorch.

    Args:
        found: The variant's logits [texts, classes].
        expected: PyTorch's logits [texts, classes].
        targets: The targets of the first texts. The other texts have no label.
        rule: The decision rule of both.
    """
    difference = float(np.abs(found - expected).max())
    found = np.nan_to_num(found)
    ours, theirs = decide(found, rule), decide(expected, rule)
    same = (ours.labels == theirs.labels).all(1)
    confident = ours.confident | theirs.confident
    labelled = slice(len(targets))
    correct, was_correct = (is_correct(one.labels[labelled], targets) for one in (ours, theirs))
    sure, was_sure = ours.confident[labelled], theirs.confident[labelled]
    lost, won = int((was_correct & ~correct).sum()), int((correct & ~was_correct).sum())
    fewer, more = int((was_sure & ~sure).sum()), int((sure & ~was_sure).sum())
    error, error_before = (
        _calibration_error(logits[labelled], targets, rule.temperature) for logits in (found, expected)
    )
    return Comparison(
        texts=len(expected),
        largest_difference=difference,
        agreement=float(same.mean()),
        confident_texts=int(confident.sum()),
        confident_agreement=float(same[confident].mean()) if confident.any() else 1.0,
        proven_agreement=intervals.lower_bound(int(same[confident].sum()), int(confident.sum())),
        accuracy_drop=(lost - won) / len(targets),
        accuracy_drop_chance=intervals.mcnemar_p_value(lost, won),
        coverage_change=(more - fewer) / len(targets),
        coverage_change_chance=intervals.mcnemar_p_value(max(more, fewer), min(more, fewer)),
        calibration_rise=error - error_before,
    )


def report(
    logits: Mapping[str, Logits], targets: Targets, labels: list[str], rule: DecisionRule
) -> dict[str, Any]:
    """Return the figures of a model on the test texts and the out-of-scope texts.

    A multi-label prediction is correct if it has exactly the labels of the text.

    Args:
        logits: The logits [texts, classes] of the part `test` and, if there are out-of-scope texts,
            of the part `oos`.
        targets: The targets of the test texts.
        labels: The names of the classes.
        rule: The fitted decision rule.
    """
    decisions = {name: decide(found, rule) for name, found in logits.items()}
    test = decisions["test"]
    correct = is_correct(test.labels, targets)
    figures = _report_multilabel if rule.thresholds else _report_single
    name = "test_exact_match" if rule.thresholds else "test_accuracy"
    return {
        **figures(test, targets, labels, rule),
        f"{name}_interval": list(intervals.interval(int(correct.sum()), len(correct))),
        "coverage": float(test.confident.mean()),
        "accepted_accuracy": float(correct[test.confident].mean()) if test.confident.any() else None,
        "oos_recall": _out_of_scope_recall(decisions["oos"], rule) if "oos" in decisions else None,
        "oos_texts": len(decisions["oos"].labels) if "oos" in decisions else 0,
        "test_ece_before": _calibration_error(logits["test"], targets, 1.0),
        "test_ece": _calibration_error(logits["test"], targets, rule.temperature),
        "test_ece_interval": ece_interval(logits["test"], targets, rule.temperature),
    }


def ece_interval(logits: Logits, targets: Targets, temperature: float) -> list[float]:
    """Return the 95% bootstrap interval of the expected calibration error, resampling the texts.

    The result is [low, high]. It includes the measured error.
    """
    gaps = metrics.gaps(logits, targets, temperature)
    random = np.random.default_rng(0)
    counts = (
        np.bincount(random.integers(0, len(gaps), len(gaps)), minlength=len(gaps))
        for _ in range(intervals.DRAWS)
    )
    samples = [float(np.abs(count @ gaps).sum() / targets.size) for count in counts]
    low, high = intervals.bootstrap_interval(samples)
    # Resampling raises the error. On few texts, the measured error can be below that of all
    # samples.
    measured = float(np.abs(gaps.sum(0)).sum() / targets.size)
    return [min(low, measured), max(high, measured)]


def is_for_threshold(texts: Sequence[str]) -> Bools:
    """Return which out-of-scope texts are used to choose the threshold, bool [texts].

    The others are used to measure it. A third is chosen, by the hash of the text, or none if there
    would be fewer than `MIN_OUT_OF_SCOPE`.
    """
    if len(texts) < 3 * MIN_OUT_OF_SCOPE:
        return np.zeros(len(texts), dtype=bool)
    return np.array(
        [
            int(hashlib.sha256(normalize_text(text).encode("utf-8", "replace")).hexdigest(), 16) % 3 == 0
            for text in texts
        ]
    )


def _calibration_error(logits: Logits, targets: Targets, temperature: float) -> float:
    return metrics.calibration_error(metrics.reliability(logits, targets, temperature))


def _report_single(
    test: Decisions, targets: Targets, labels: list[str], rule: DecisionRule
) -> dict[str, Any]:
    predicted = test.labels[:, 0]
    return {
        "test_accuracy": float(accuracy_score(targets, predicted)),
        "test_macro_f1": metrics.macro_f1(targets, predicted),
        "threshold": rule.threshold,
        "margin": rule.margin,
        "per_class": metrics.class_report(targets, predicted, labels),
    }


def _report_multilabel(
    test: Decisions, targets: Targets, labels: list[str], rule: DecisionRule
) -> dict[str, Any]:
    present = np.asarray(targets, np.float64)
    rows = metrics.class_report(present, test.labels, labels)
    return {
        "test_exact_match": float(accuracy_score(present, test.labels)),
        "test_micro_f1": metrics.micro_f1(present, test.labels),
        "test_macro_f1": metrics.macro_f1(present, test.labels),
        "threshold": rule.threshold,
        "per_class": {
            label: row | {"threshold": threshold}
            for (label, row), threshold in zip(rows.items(), rule.thresholds, strict=True)
        },
        "thresholds": list(rule.thresholds),
    }


def _out_of_scope_recall(decisions: Decisions, rule: DecisionRule) -> float:
    """Return the share of out-of-scope texts that are detected.

    Detected are texts whose prediction is uncertain, or for a multi-label model has no label.
    """
    detected = ~decisions.labels.any(1) if rule.thresholds else ~decisions.confident
    return float(detected.mean())
