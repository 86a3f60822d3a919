"""Means of cross-validation and their confidence intervals.

The models of a cross-validation share most of their training texts, so their figures are
correlated, and the usual interval of a mean is too narrow. Nadeau and Bengio (2003, Inference for
the Generalization Error, Machine Learning 52, section 3) correct the variance by the share of the
texts that are measured. Bouckaert and Frank (2004) apply the correction to repeated
cross-validation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from tokensieve.evaluation.intervals import LEVEL


@dataclass(frozen=True)
class Estimate:
    """The mean of a figure over the models of a cross-validation.

    Attributes:
        mean: The mean.
        spread: The standard deviation over the models.
        low: The lower bound of the mean, at 95% confidence.
        high: The upper bound.
    """

    mean: float
    spread: float
    low: float
    high: float

    @property
    def is_measurable(self) -> bool:
        """Whether 0 lies outside the interval: of a difference, whether it is more than chance."""
        return self.low > 0 or self.high < 0


def estimate(values: Sequence[float], folds: int) -> Estimate:
    """Return the mean of `values` with the corrected interval of Nadeau and Bengio.

    For the difference between two settings, pass the difference of each pair of models that were
    trained on the same texts.

    Args:
        values: One per model: `folds` per repetition, at least 2.
        folds: The number of folds, at least 2.
    """
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    # A model is measured on one fold and trained on the others.
    variance = spread**2 * (1 / len(values) + 1 / (folds - 1))
    half = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2)) * math.sqrt(variance)
    return Estimate(mean, spread, mean - half, mean + half)
