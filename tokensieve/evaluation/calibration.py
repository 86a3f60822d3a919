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


def threshold(confidences: Floats, right: Bools, coverage: float, outside: Floats | None = None) -> float:
    """Return the confidence below which an answer is uncertain: the highest that keeps the share `coverage` of the right answers.

    With the confidences of texts `outside` the scope, it is lowered if that keeps a larger share of right answers than the share of
    those texts that it lets through.
    """
    kept = np.sort(confidences[right])
    if not len(kept):
        return 0.0
    highest = _rounded(quantile(kept, 1 - coverage))
    if outside is None or not len(outside):
        return highest
    # Just above an outside text, the next one is rejected as well.
    found = np.unique([*(_rounded(value) + STEP for value in outside if value + STEP < highest), highest])
    worth = [(outside < value).mean() + (kept >= value).mean() for value in found]
    return float(found[int(np.argmax(np.round(worth, 9)))])


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


def _rounded(value: float) -> float:
    return float(np.floor(value / STEP) * STEP)
