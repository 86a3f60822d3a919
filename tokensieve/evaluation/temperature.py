"""Fit the temperature that divides the logits, on texts that were not trained on.

The fit is cautious, because there may be only a few dozen texts.
`python -m benchmarks.studies.calibration` measures how good it is.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from tokensieve.evaluation import metrics
from tokensieve.evaluation.metrics import Float64s, Targets
from tokensieve.inference.decisions import TEMPERATURES

PRIOR = 20  # weight of the prior of temperature 1, in texts
FOLDS, REPEATS = 5, 2  # of the cross-validation of the temperature
MAX_CHECKED = 2000  # texts on which a temperature is compared with temperature 1


def cautious_temperature(logits: Float64s, targets: Targets) -> float:
    """Return the temperature with the lowest loss, or 1 if the gain is not certain.

    The gain is the decrease of the loss on other texts, in a cross-validation. Its mean must exceed
    one standard error. Without this check, one in eight fits on 30 texts made the calibration
    worse.

    Args:
        logits: float64 [texts, classes].
        targets: int64 [texts], or for multi-label data 0 and 1 [texts, classes].
    """
    gains = _loss_gains(logits, targets)
    is_better = len(gains) > 1 and gains.mean() > gains.std(ddof=1) / np.sqrt(len(gains))
    return fit_temperature(logits, targets, PRIOR) if is_better else 1.0


def fit_temperature(logits: Float64s, targets: Targets, prior: float = 1.0) -> float:
    """Return the temperature between 0.05 and 20 with the lowest loss.

    The method is temperature scaling (Guo et al. 2017, arXiv 1706.04599). A standard normal prior
    on the logarithm of the temperature counts as much as `prior` texts. Without it, the fit would
    end at a bound if all predictions are correct. The loss has a single minimum in the logarithm.
    """

    def cost(logarithm: float) -> float:
        return metrics.loss(logits, targets, float(np.exp(logarithm))) + prior * logarithm**2 / (
            2 * len(targets)
        )

    lowest, highest = map(np.log, TEMPERATURES)
    found = minimize_scalar(cost, bounds=(lowest, highest), method="bounded", options={"xatol": 1e-6})
    return round(float(np.exp(found.x)), 6)


def _loss_gains(logits: Float64s, targets: Targets) -> Float64s:
    """Return how much a temperature that is fitted on other texts lowers the loss of each text.

    The result is float64, for at most `MAX_CHECKED` of the texts, in nats.
    """
    random = np.random.default_rng(0)
    rows = random.permutation(len(targets))[:MAX_CHECKED]
    gains = np.zeros(len(rows))
    for _ in range(REPEATS):
        for held in np.array_split(random.permutation(len(rows)), FOLDS):
            others, own = np.delete(rows, held), rows[held]
            if len(own) and len(others):
                fitted = fit_temperature(logits[others], targets[others], PRIOR)
                gains[held] += metrics.losses(logits[own], targets[own]) - metrics.losses(
                    logits[own], targets[own], fitted
                )
    return gains / REPEATS
