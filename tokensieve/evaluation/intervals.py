"""Confidence intervals of a measured share, and the exact test of two models on the same texts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import bdtrc, betaincinv

LEVEL = 0.95  # confidence of every bound
DRAWS = 400  # bootstrap samples per interval


def interval(hits: int, texts: int) -> tuple[float, float]:
    """Return the two-sided Clopper-Pearson interval of the share `hits` / `texts`.

    Without texts it is (0, 1).
    """
    tail = (1 - LEVEL) / 2
    low = betaincinv(hits, texts - hits + 1, tail) if hits else 0.0
    high = betaincinv(hits + 1, texts - hits, 1 - tail) if hits < texts else 1.0
    return float(low), float(high)


def bootstrap_interval(samples: Sequence[float]) -> tuple[float, float]:
    """Return the two-sided percentile interval of a measurement from bootstrap `samples` of it."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(samples, [tail, 1 - tail])
    return float(low), float(high)


def lower_bound(hits: int, texts: int) -> float:
    """Return the one-sided lower Clopper-Pearson bound of `hits` / `texts`; 0 without texts."""
    return float(betaincinv(hits, texts - hits + 1, 1 - LEVEL)) if hits else 0.0


def mcnemar_p_value(worse: int, better: int) -> float:
    """Return the one-sided p-value of the exact McNemar test.

    It is the probability that two equally good models differ by at least this much.

    Args:
        worse: The number of texts on which the first model is worse than the second.
        better: The number of texts on which it is better.
    """
    return float(bdtrc(worse - 1, worse + better, 0.5))


def texts_needed(share: float) -> int:
    """Return the number of texts that give a `lower_bound` of `share` or more if all are hits.

    `share` is below 1.
    """
    return math.ceil(math.log(1 - LEVEL) / math.log(share)) if share > 0 else 0
