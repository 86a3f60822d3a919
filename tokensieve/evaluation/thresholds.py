"""Fit the decision thresholds, on texts that were not trained on.

`confidence_threshold` is the confidence below which a prediction is uncertain. `label_thresholds`
are the probabilities above which each label of multi-label data is given. `inference/decisions.py`
applies both. `python -m benchmarks.studies.calibration` measures the fit of the first.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betainc

from tokensieve.evaluation import intervals
from tokensieve.evaluation.metrics import Bools, Float64s, Ints

MIN_TEXTS = 5  # a label with fewer texts gets the threshold that is best for all labels together
# Thresholds are rounded down to a multiple of this. So the text that gives the threshold is not
# below it, in float32 either.
STEP = 1e-6


def confidence_threshold(
    confidences: Float64s, correct: Bools, coverage: float, out_of_scope: Float64s | None = None
) -> float:
    """Return the confidence below which a prediction is uncertain.

    It is the highest threshold that keeps the share `coverage` of the correct predictions.
    Out-of-scope texts can only lower it (`lower_threshold`).

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
    """Return a threshold below `highest` if that is certainly better, otherwise `highest`.

    The gain of a lower threshold is the share of correct predictions that it keeps in addition,
    minus the share of out-of-scope texts that it accepts in addition. Both shares are estimated on
    few texts. So one standard error of the difference is subtracted, and one accepted and one
    rejected out-of-scope text are added (Agresti and Coull 1998). The threshold with the highest
    gain above 0 is returned. `benchmarks/studies/out_of_scope.py` compares this rule with others.

    Args:
        highest: The threshold without out-of-scope texts.
        correct: Confidences of the correct predictions, in ascending order, float64 [texts].
        out_of_scope: Confidences of the out-of-scope texts, in ascending order, float64 [texts].
    """
    # Each candidate is just above an out-of-scope text, so that this text is rejected.
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
    """Return the 95% bootstrap interval of `confidence_threshold` over the texts that it is fitted
    on.
    """
    random = np.random.default_rng(0)
    samples = []
    for _ in range(intervals.DRAWS):
        rows = random.integers(0, len(correct), len(correct))
        drawn = out_of_scope
        if out_of_scope is not None and len(out_of_scope):
            drawn = out_of_scope[random.integers(0, len(out_of_scope), len(out_of_scope))]
        samples.append(confidence_threshold(confidences[rows], correct[rows], coverage, drawn))
    return list(intervals.bootstrap_interval(samples))


def label_thresholds(probabilities: Float64s, targets: Float64s, min_texts: int = MIN_TEXTS) -> Float64s:
    """Return the decision threshold of each label, float64 [classes]: the one with the best F1.

    A label with fewer than `min_texts` texts gets the threshold with the best micro F1 of all
    labels.

    Args:
        probabilities: float64 [texts, classes].
        targets: 0 and 1 [texts, classes].
        min_texts: The number of texts that a label needs for a threshold of its own.
    """
    shared = _best_threshold(probabilities.ravel(), targets.ravel())
    return np.array(
        [
            _best_threshold(own, present) if present.sum() >= min_texts else shared
            for own, present in zip(probabilities.T, targets.T, strict=True)
        ]
    )


def quantile(values: Float64s, share: float) -> float:
    """Return the Harrell-Davis estimate of a quantile (Harrell and Davis 1982).

    It is a weighted mean of all values. The sample quantile of 30 texts is the value of one text;
    this estimate varies a fifth less.

    Args:
        values: In ascending order, float64 [at least 1].
        share: Which quantile, 0 to 1.
    """
    share = round(share, 9)
    if share <= 0:
        return float(values[0])
    count = len(values)
    edges = betainc((count + 1) * share, (count + 1) * (1 - share), np.arange(count + 1) / count)
    return float(np.diff(edges) @ values)


def _round_down(value: float) -> float:
    """Return the largest multiple of `STEP` that is not above `value`."""
    return float(np.floor(value / STEP) * STEP)


def _between(values: Float64s, lowest: Float64s, highest: float) -> Ints:
    """Return the number of the sorted `values` in [low, highest), for each `low` in `lowest`."""
    return np.searchsorted(values, highest) - np.searchsorted(values, lowest)


def _best_threshold(probabilities: Float64s, targets: Float64s) -> float:
    """Return the threshold with the best F1.

    It is in the middle between the lowest probability above it and the highest one below it.
    """
    if not targets.any():
        return 0.5
    order = np.argsort(-probabilities, kind="stable")
    falling = np.append(probabilities[order], 0.0)
    f1 = 2 * targets[order].cumsum() / (np.arange(1, len(order) + 1) + targets.sum())
    # There is no threshold between equal probabilities.
    last = int(np.where(falling[:-1] > falling[1:], f1, 0.0).argmax())
    return float(np.clip((falling[last] + falling[last + 1]) / 2, 1e-6, 1 - 1e-6))
