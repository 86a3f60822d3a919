"""Fit what turns logits into answers, the temperature and the confidence threshold, on texts that were not trained on.

A few dozen texts say little, so neither fit follows them closely. `python -m benchmarks.training.calibration` measures what that is worth.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import beta

from tokensieve.evaluation import intervals, metrics
from tokensieve.evaluation.metrics import Bools, Floats, Ints

PRIOR = 20  # texts that the belief in temperature 1 counts as much as
FOLDS, REPEATS = 5, 2
CHECKED = 2000  # texts at most on which a temperature is compared with none
STEP = 1e-6  # thresholds are rounded down to it, so that the text that sets one stays above it in float32 as well


def temperature(logits: Floats, targets: Ints | Floats) -> float:
    """Return the temperature with the lowest loss, or 1 unless it lowers the loss of texts that it was not fitted on.

    By one standard error at least: without that, one in eight fits on 30 texts made the calibration worse than none.
    """
    gains = _gains(logits, targets)
    is_better = len(gains) > 1 and gains.mean() > gains.std(ddof=1) / np.sqrt(len(gains))
    return metrics.fit_temperature(logits, targets, PRIOR) if is_better else 1.0


def threshold(
    confidences: Floats, correct: Bools, coverage: float, out_of_scope: Floats | None = None
) -> float:
    """Return the confidence below which a prediction is uncertain.

    It is the highest threshold that keeps the share `coverage` of the correct predictions. Texts that are out of
    scope can only lower it, as `lower_threshold` describes.

    Args:
        confidences: Confidence of each text, float64 [texts].
        correct: Whether its prediction is correct, bool [texts].
        coverage: Share of the correct predictions to keep, 0 to 1.
        out_of_scope: Confidence of each out-of-scope text, float64 [texts]; None if there are no such texts.
    """
    kept = np.sort(confidences[correct])
    if not len(kept):
        return 0.0
    highest = _round_down(quantile(kept, 1 - coverage))
    if out_of_scope is None or not len(out_of_scope):
        return highest
    return lower_threshold(highest, kept, np.sort(out_of_scope))


def lower_threshold(highest: float, correct: Floats, out_of_scope: Floats) -> float:
    """Return a threshold below `highest` if it surely keeps more correct predictions than it accepts out-of-scope texts.

    The worth of a lower threshold is the share of correct predictions that it keeps in addition, minus the share of
    out-of-scope texts that it accepts in addition. Both are estimated on few texts, so one standard error of the
    difference is subtracted, and one accepted and one rejected text are added to those out of scope (Agresti and
    Coull 1998). The threshold with the highest worth above 0 is returned. `benchmarks/training/out_of_scope.py`
    compares this rule with others.

    Args:
        highest: The threshold without out-of-scope texts.
        correct: Confidences of the correct predictions, in ascending order, float64 [texts].
        out_of_scope: Confidences of the out-of-scope texts, in ascending order, float64 [texts].
    """
    # Just above an out-of-scope text, so that this text is rejected.
    candidates = np.unique(np.floor(out_of_scope / STEP) * STEP + STEP)
    candidates = candidates[candidates < highest]
    if not len(candidates):
        return highest
    kept = _between(correct, candidates, highest) / len(correct)
    accepted = (_between(out_of_scope, candidates, highest) + 1) / (len(out_of_scope) + 2)
    variance = kept * (1 - kept) / len(correct) + accepted * (1 - accepted) / len(out_of_scope)
    worth = kept - accepted - np.sqrt(variance)
    best = int(worth.argmax())
    return float(candidates[best]) if worth[best] > 0 else highest


def threshold_interval(
    confidences: Floats, right: Bools, coverage: float, outside: Floats | None = None
) -> list[float]:
    """Return the 95% bootstrap interval of the threshold over the texts that it is fitted on."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(intervals.DRAWS):
        rows = random.integers(0, len(right), len(right))
        drawn = (
            outside
            if outside is None or not len(outside)
            else outside[random.integers(0, len(outside), len(outside))]
        )
        found.append(threshold(confidences[rows], right[rows], coverage, drawn))
    return list(intervals.bootstrap_interval(found))


def quantile(values: Floats, share: float) -> float:
    """Return the Harrell-Davis estimate of a quantile of sorted `values`: an average weighted by how likely each is the quantile.

    Of 30 texts, the sample quantile is one text; this estimate varies a fifth less.
    """
    share = round(share, 9)
    if share <= 0:
        return float(values[0])
    edges = beta.cdf(
        np.arange(len(values) + 1) / len(values), (len(values) + 1) * share, (len(values) + 1) * (1 - share)
    )
    return float(np.diff(edges) @ values)


def _gains(logits: Floats, targets: Ints | Floats) -> Floats:
    """Return by how much a temperature that is fitted on other texts lowers the loss of each text."""
    random = np.random.default_rng(0)
    rows = random.permutation(len(targets))[:CHECKED]
    gains = np.zeros(len(rows))
    for _ in range(REPEATS):
        for held in np.array_split(random.permutation(len(rows)), FOLDS):
            others, own = np.delete(rows, held), rows[held]
            if len(own) and len(others):
                fitted = metrics.fit_temperature(logits[others], targets[others], PRIOR)
                gains[held] += metrics.losses(logits[own], targets[own]) - metrics.losses(
                    logits[own], targets[own], fitted
                )
    return gains / REPEATS


def _round_down(value: float) -> float:
    return float(np.floor(value / STEP) * STEP)


def _between(values: Floats, lowest: Floats, highest: float) -> Ints:
    """Return how many of the sorted `values` lie in [low, highest) for each low of `lowest`."""
    return np.searchsorted(values, highest) - np.searchsorted(values, lowest)
