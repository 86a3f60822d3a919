"""Judge a model by its logits: accuracy, F1, calibration and confident answers, and how one build of it differs from another.

PyTorch's model and each exported build are judged by the same functions, so that their figures can be compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokensieve.data.normalize import normalize_text
from tokensieve.evaluation import intervals, metrics
from tokensieve.inference.decisions import DecisionRule, Decisions, decide

Numbers = NDArray[np.floating[Any]]
Targets = metrics.Ints | metrics.Floats
FEW = 10  # texts out of scope that are too few to choose a threshold by


@dataclass(frozen=True)
class Comparison:
    """How the answers of one build differ from PyTorch's on the same texts.

    `agreement` is the share of all texts with the same answer. `confident_agreement` is that share among the `confident_texts`: those
    that either of the two answers with confidence. `proven_agreement` is its lower bound at 95% confidence. The other figures are of
    the texts with labels: the accuracy that the build loses, by how much it answers a larger share with confidence, and by how much
    its calibration error is higher. Each `_chance` is how likely such a difference is between two models that are equally good.
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


def is_correct(labels: NDArray[Any], targets: Targets) -> metrics.Bools:
    """Return which texts have exactly their label or labels."""
    return np.asarray((labels == targets.reshape(len(targets), -1)).all(1))


def compare(found: Numbers, expected: Numbers, targets: Targets, rule: DecisionRule) -> Comparison:
    """Compare the logits `found` by a build with the `expected` ones of PyTorch; `targets` are those of the first texts."""
    difference = float(np.abs(found - expected).max())
    found = np.nan_to_num(found)
    ours, theirs = decide(found, rule), decide(expected, rule)
    same = (ours.labels == theirs.labels).all(1)
    seen = ours.confident | theirs.confident
    labelled = slice(len(targets))
    is_right, was_right = (is_correct(given.labels[labelled], targets) for given in (ours, theirs))
    is_sure, was_sure = ours.confident[labelled], theirs.confident[labelled]
    lost, won = int((was_right & ~is_right).sum()), int((is_right & ~was_right).sum())
    fewer, more = int((was_sure & ~is_sure).sum()), int((is_sure & ~was_sure).sum())
    after, before = (
        _calibration_error(logits[labelled], targets, rule.temperature) for logits in (found, expected)
    )
    return Comparison(
        texts=len(expected),
        largest_difference=difference,
        agreement=float(same.mean()),
        confident_texts=int(seen.sum()),
        confident_agreement=float(same[seen].mean()) if seen.any() else 1.0,
        proven_agreement=intervals.lower_bound(int(same[seen].sum()), int(seen.sum())),
        accuracy_drop=(lost - won) / len(targets),
        accuracy_drop_chance=intervals.mcnemar_p_value(lost, won),
        coverage_change=(more - fewer) / len(targets),
        coverage_change_chance=intervals.mcnemar_p_value(max(more, fewer), min(more, fewer)),
        calibration_rise=after - before,
    )


def report(
    logits: Mapping[str, Numbers], targets: Targets, labels: list[str], rule: DecisionRule
) -> dict[str, Any]:
    """Return the figures of a model from `logits` of the part test and, if there are texts out of scope, oos; `targets` are the test's.

    If texts have several labels, an answer is right if all its labels are.
    """
    given = {name: decide(found, rule) for name, found in logits.items()}
    test = given["test"]
    is_right = is_correct(test.labels, targets)
    measured = _several(test, targets, labels, rule) if rule.thresholds else _one(test, targets, labels, rule)
    name = "test_exact_match" if rule.thresholds else "test_accuracy"
    return {
        **measured,
        f"{name}_interval": list(intervals.interval(int(is_right.sum()), len(is_right))),
        "coverage": float(test.confident.mean()),
        "accepted_accuracy": float(is_right[test.confident].mean()) if test.confident.any() else None,
        "oos_recall": _rejected(given["oos"], rule) if "oos" in given else None,
        "oos_texts": len(given["oos"].labels) if "oos" in given else 0,
        "test_ece_before": _calibration_error(logits["test"], targets, 1.0),
        "test_ece": _calibration_error(logits["test"], targets, rule.temperature),
        "test_ece_interval": ece_interval(logits["test"], targets, rule.temperature),
    }


def ece_interval(logits: Numbers, targets: Targets, temperature: float) -> list[float]:
    """Return the 95% bootstrap interval of the calibration error over the texts."""
    gaps = metrics.gaps(logits, targets, temperature)
    random = np.random.default_rng(0)
    counts = (
        np.bincount(random.integers(0, len(gaps), len(gaps)), minlength=len(gaps))
        for _ in range(intervals.DRAWS)
    )
    found = [float(np.abs(count @ gaps).sum() / targets.size) for count in counts]
    low, high = intervals.bootstrap_interval(found)
    # A sample of the texts has more error than the texts: on few of them, the measured value may lie below all samples.
    measured = float(np.abs(gaps.sum(0)).sum() / targets.size)
    return [min(low, measured), max(high, measured)]


def is_for_threshold(texts: Sequence[str]) -> metrics.Bools:
    """Return which texts out of scope help to choose the threshold: a third, by their hash, or none of a few.

    The others measure what the threshold is worth.
    """
    if len(texts) < 3 * FEW:
        return np.zeros(len(texts), dtype=bool)
    return np.array(
        [
            int(hashlib.sha256(normalize_text(text).encode("utf-8", "replace")).hexdigest(), 16) % 3 == 0
            for text in texts
        ]
    )


def _calibration_error(logits: Numbers, targets: Targets, temperature: float) -> float:
    return metrics.calibration_error(metrics.reliability(logits, targets, temperature))


def _one(test: Decisions, targets: Targets, labels: list[str], rule: DecisionRule) -> dict[str, Any]:
    matrix = metrics.confusion(np.asarray(targets, np.int64), test.labels[:, 0], len(labels))
    return {
        "test_accuracy": float(np.trace(matrix) / matrix.sum()),
        "test_macro_f1": metrics.macro_f1(matrix),
        "threshold": rule.threshold,
        "margin": rule.margin,
        "per_class": metrics.per_class(matrix, labels),
    }


def _several(test: Decisions, targets: Targets, labels: list[str], rule: DecisionRule) -> dict[str, Any]:
    wanted = np.asarray(targets, np.float64)
    micro_f1, macro_f1 = metrics.label_f1(test.labels, wanted)
    return {
        "test_exact_match": float(metrics.exact_match(test.labels, wanted).mean()),
        "test_micro_f1": micro_f1,
        "test_macro_f1": macro_f1,
        "threshold": rule.threshold,
        "per_class": metrics.per_label(test.labels, wanted, np.array(rule.thresholds), labels),
        "thresholds": list(rule.thresholds),
    }


def _rejected(given: Decisions, rule: DecisionRule) -> float:
    """Return the share of texts that are flagged as uncertain, or, if they may have several labels, get none."""
    return float((~given.labels.any(1)).mean()) if rule.thresholds else float((~given.confident).mean())
