"""Linear classifiers of scikit-learn. Multi-label data need one classifier per label."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.multiclass import OneVsRestClassifier


def fitted(machine: Any, features: Any, targets: NDArray[Any]) -> Any:
    """Return `machine` fitted to targets, int64 [texts].

    For multi-label targets [texts, classes], one copy of it is fitted per class.
    """
    with warnings.catch_warnings():
        # A rare label may be missing in a fold of a cross-validation. Then no classifier is fitted
        # for it, and it is never predicted.
        warnings.filterwarnings("ignore", "Label .* is present in all training examples", UserWarning)
        return (machine if targets.ndim == 1 else OneVsRestClassifier(machine)).fit(features, targets)


def decisions(fit: Any, features: Any) -> NDArray[Any]:
    """Return scores [texts, classes], above 0 for predicted labels.

    For two classes, scikit-learn itself returns one column only.
    """
    scores = fit.decision_function(features)
    return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores


def weights(fit: Any) -> int:
    """Return the number of fitted parameters."""
    return sum(machine.coef_.size + machine.intercept_.size for machine in machines(fit))


def machines(fit: Any) -> list[Any]:
    """Return the fitted classifiers: one for all classes, or one per label."""
    return [machine for machine in getattr(fit, "estimators_", [fit]) if hasattr(machine, "coef_")]
