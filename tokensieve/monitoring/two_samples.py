"""Tests of whether two samples of texts come from one distribution.

Each function takes the reference first and the window second. A p-value is the probability of a
difference at least as large if both come from one distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

PERMUTATIONS = 999  # the smallest p-value is 1 / 1,000
PENALTY = 0.1  # of the domain classifier, in units of the mean eigenvalue of the states' Gram matrix


@dataclass(frozen=True)
class Difference:
    """The result of a test.

    Attributes:
        p: The p-value.
        effect: The size of the difference, in the unit that the function names.
    """

    p: float
    effect: float


def domain_classifier(reference: Floats, window: Floats, seed: int) -> tuple[Difference, Floats]:
    """Return how well a linear classifier tells the samples apart, and its score of each text.

    The classifier is a ridge regression. Each text's score is of a regression without that text:
    score_i = y_i - (y_i - f_i) / (1 - H_ii), with hat matrix H and fitted values f = H y. The
    effect is the area under the ROC curve of these scores: 0.5 if the samples cannot be told apart.
    The p-value is by permutation of the samples, with the same H (classifier two-sample
    test: Lopez-Paz and Oquab 2017, arXiv 1610.06545).

    Args:
        reference, window: States of the texts, [texts, width].
        seed: Of the permutations.

    Returns:
        The difference, and the scores of all texts, the reference's first, float64 [texts]. A high
        score is like the window.
    """
    basis, shrink = _ridge(np.concatenate([reference, window]))
    permuted = _permutations(len(reference), len(window), seed)
    fitted = basis @ (shrink[:, None] * (basis.T @ permuted)) + permuted.mean(0)
    leverage = ((basis**2) @ shrink + 1.0 / len(basis))[:, None]
    scores = permuted - (permuted - fitted) / np.maximum(1 - leverage, 1e-6)
    areas = _areas(scores, permuted)
    return Difference(_p(areas), float(areas[0])), scores[:, 0]


def mean_discrepancy(reference: Floats, window: Floats, seed: int) -> Difference:
    """Return the squared maximum mean discrepancy with a Gaussian kernel, and its p by permutation.

    The width of the kernel is the median distance. Biased estimate (Gretton et al. 2012, JMLR 13,
    equation 5). `reference` and `window` are states, [texts, width].
    """
    states = np.concatenate([reference, window]).astype(np.float32)
    states -= states.mean(0)
    squares = (states**2).sum(1)
    distances = np.maximum(squares[:, None] + squares - 2 * states @ states.T, 0)
    width = float(np.median(distances[np.triu_indices(len(states), 1)]))
    kernel = np.exp(-distances / max(width, 1e-12))
    permuted = _permutations(len(reference), len(window), seed)
    signs = (permuted / len(window) - (1 - permuted) / len(reference)).astype(np.float32)
    found = (signs * (kernel @ signs)).sum(0, dtype=np.float64)
    return Difference(_p(found), float(found[0]))


def label_shift(reference: Ints, window: Ints, classes: int, seed: int) -> Difference:
    """Return the shift of the labels' distribution: p of the chi-square statistic by permutation.

    Its usual approximation does not hold for many labels with few texts. The effect is the
    population stability index: the sum over labels of (w - r) ln(w / r), of shares with half a text
    added. `reference` and `window` are indices of labels, int64 [texts].
    """
    together = np.concatenate([reference, window])
    kept = np.bincount(together, minlength=classes).astype(np.float64)
    share = len(window) / len(together)
    generator = np.random.default_rng(seed)
    # Random texts of both samples as the window: their counts are multivariate hypergeometric.
    drawn = generator.multivariate_hypergeometric(
        kept.astype(np.int64), len(window), size=PERMUTATIONS, method="marginals"
    )
    counts = np.vstack([np.bincount(window, minlength=classes), drawn])
    expected = np.maximum(kept * share, 1e-12)
    statistic = ((counts - expected) ** 2 / expected).sum(1)
    shares = [
        (np.bincount(labels, minlength=classes) + 0.5) / (len(labels) + 0.5 * classes)
        for labels in (reference, window)
    ]
    index = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
    return Difference(_p(statistic), index)


def share_difference(reference: npt.NDArray[np.bool_], window: npt.NDArray[np.bool_]) -> Difference:
    """Return the difference of two shares, window minus reference; p by Fisher's exact test."""
    table = [[int(sample.sum()), int(len(sample) - sample.sum())] for sample in (reference, window)]
    return Difference(float(stats.fisher_exact(table).pvalue), float(window.mean() - reference.mean()))


def rank_difference(reference: Floats, window: Floats) -> Difference:
    """Return how far one sample of numbers lies above the other; p by Mann and Whitney's test.

    The effect is the probability that a number of the window is above one of the reference, minus
    one half. Ties count one half.
    """
    found = stats.mannwhitneyu(window, reference, alternative="two-sided")
    effect = float(found.statistic) / (len(reference) * len(window)) - 0.5
    return Difference(1.0 if np.isnan(found.pvalue) else float(found.pvalue), effect)


def distribution_difference(reference: Floats, window: Floats) -> Difference:
    """Return the largest difference of two cumulative distributions; p by Kolmogorov and Smirnov's
    test.
    """
    found = stats.ks_2samp(reference, window)
    return Difference(float(found.pvalue), float(found.statistic))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number (Holm 1979), in their order."""
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def _ridge(states: Floats) -> tuple[Floats, Floats]:
    """Return the left singular vectors of the scaled states and their shrinkage by the ridge.

    The matrix that maps targets to fitted values is basis diag(shrink) basis' + 1/texts, with an
    intercept.
    """
    centred = states.astype(np.float64) - states.mean(0, dtype=np.float64)
    deviation = centred.std(0)
    basis, values, _ = np.linalg.svd(centred / np.where(deviation > 0, deviation, 1.0), full_matrices=False)
    power = values**2
    return basis, power / (power + PENALTY * max(float(power.mean()), 1e-12))


def _permutations(reference: int, window: int, seed: int) -> Floats:
    """Return whether each text belongs to the window as the first column, and permutations as the
    others.
    """
    generator = np.random.default_rng(seed)
    sample = np.repeat([0.0, 1.0], [reference, window])
    others = generator.permuted(np.tile(sample, (PERMUTATIONS, 1)), axis=1)
    return np.vstack([sample, others]).T


def _areas(scores: Floats, sample: Floats) -> Floats:
    """Return the area under the ROC curve of each column. The scores have no ties."""
    order = np.argsort(scores.T, axis=1)
    ranked = np.take_along_axis(sample.T, order, axis=1)
    ones = sample[:, 0].sum()
    found: Floats = (ranked @ np.arange(1, len(sample) + 1) - ones * (ones + 1) / 2) / (
        ones * (len(sample) - ones)
    )
    return found


def _p(statistics: Floats) -> float:
    """Return the p-value of the first statistic among those of the permutations, large ones being
    rare.
    """
    # Equal values may differ by rounding.
    return float((statistics >= statistics[0] - 1e-9 * abs(statistics[0])).mean())
