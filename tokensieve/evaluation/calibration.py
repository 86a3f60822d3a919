"""Fit the temperature and the confidence threshold on texts that were not trained on.

Both fits are cautious, because a few dozen texts show little.
`python -m benchmarks.training.calibration` measures them.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import beta

from tokensieve.evaluation import intervals, metrics
from tokensieve.evaluation.metrics import Bools, Float64s, Ints, Targets

PRIOR = 20  # number of texts that the prior of temperature 1 counts as much as
FOLDS, REPEATS = 5, 2  # of the cross-validation of the temperature
MAX_CHECKED = 2000  # texts on which a temperature is compared with none
STEP = 1e-6  # thresholds are rounded down to a multiple, so that the text at the threshold is above it in float32 too


def temperature(logits: Float64s, targets: Targets) -> float:
    """Return the temperature with the lowest loss, or 1 if it does not surely lower the loss of other texts.

    In a cross-validation, the mean gain must exceed one standard error. Without this check, one in
    eight fits on 30 texts made the calibration worse.

    Args:
        logits: float64 [texts, classes].
        targets: int64 [texts], or for multi-label data 0 and 1 [texts, classes].
    """
    gains = _loss_gains(logits, targets)
    is_better = len(gains) > 1 and gains.mean() > gains.std(ddof=1) / np.sqrt(len(gains))
    return metrics.fit_temperature(logits, targets, PRIOR) if is_better else 1.0


def threshold(
    confidences: Float64s, correct: Bools, coverage: float, out_of_scope: Float64s | None = None
) -> float:
    """Return the confidence below which a prediction is uncertain.

    It is the highest threshold that keeps the share `coverage` of the correct predictions. Texts
    that are out of scope can only lower it, as `lower_threshold` describes.

    Args:
        confidences: Confidence of each text, float64 [texts].
        correct: Whether its prediction is correct, bool [texts].
        coverage: Share of the correct predictions to keep, 0 to 1.
        out_of_scope: Confidence of each out-of-scope text, float64 [texts]; None if there are no
            such texts.
    """
    kept = np.sort(confidences[correct])
    if not len(kept):
        return 0.0
    highest = _round_down(quantile(kept, 1 - coverage))
    if out_of_scope is None or not len(out_of_scope):
        return highest
    return lower_threshold(highest, kept, np.sort(out_of_scope))


def lower_threshold(highest: float, correct: Float64s, out_of_scope: Float64s) -> float:
    """Return a threshold below `highest` if it surely keeps more correct predictions than it accepts out-of-scope texts.

    The worth of a lower threshold is the share of correct predictions that it keeps in addition,
    minus the share of out-of-scope texts that it accepts in addition. Both are estimated on few
    texts, so one standard error of the difference is subtracted, and one accepted and one rejected
    text are added to those out of scope (Agresti and Coull 1998). The threshold with the highest
    worth above 0 is returned. `benchmarks/training/out_of_scope.py` compares this rule with others.

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
    confidences: Float64s, correct: Bools, coverage: float, out_of_scope: Float64s | None = None
) -> list[float]:
    """Return the 95% bootstrap interval of `threshold` over the texts that it is fitted on."""
    random = np.random.default_rng(0)
    samples = []
    for _ in range(intervals.DRAWS):
        rows = random.integers(0, len(correct), len(correct))
        drawn = out_of_scope
        if out_of_scope is not None and len(out_of_scope):
            drawn = out_of_scope[random.integers(0, len(out_of_scope), len(out_of_scope))]
        samples.append(threshold(confidences[rows], correct[rows], coverage, drawn))
    return list(intervals.bootstrap_interval(samples))


def quantile(values: Float64s, share: float) -> float:
    """Return the Harrell-Davis estimate of a quantile (1982): a weighted mean of all values.

    The sample quantile of 30 texts is the value of one text. This estimate varies a fifth less.

    Args:
        values: In ascending order, float64 [at least 1].
        share: Which quantile, 0 to 1.
    """
    share = round(share, 9)
    if share <= 0:
        return float(values[0])
    edges = beta.cdf(
        np.arange(len(values) + 1) / len(values), (len(values) + 1) * share, (len(values) + 1) * (1 - share)
    )
    return float(np.diff(edges) @ values)


def _loss_gains(logits: Float64s, targets: Targets) -> Float64s:
    """Return by how much a temperature that is fitted on other texts lowers the loss of each text, float64 [texts]."""
    random = np.random.default_rng(0)
    rows = random.permutation(len(targets))[:MAX_CHECKED]
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
    """Return the largest multiple of `STEP` that is not above `value`."""
    return float(np.floor(value / STEP) * STEP)


def _between(values: Float64s, lowest: Float64s, highest: float) -> Ints:
    """Return how many of the sorted `values` lie in [low, highest) for each low of `lowest`."""
    return np.searchsorted(values, highest) - np.searchsorted(values, lowest)
