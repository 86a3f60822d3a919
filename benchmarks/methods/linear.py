"""Linear classifiers of scikit-learn, for one label a text or, one against the rest for each label, for several."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.multiclass import OneVsRestClassifier


def fitted(machine: Any, features: Any, targets: NDArray[Any]) -> Any:
    """`machine` fitted to targets int64 [texts], or one of its kind for each column of targets [texts, classes]."""
    with warnings.catch_warnings():
        # A rare label may miss a fold of a cross-validation: nothing is fitted for it, and it is decided on nowhere.
        warnings.filterwarnings("ignore", "Label .* is present in all training examples", UserWarning)
        return (machine if targets.ndim == 1 else OneVsRestClassifier(machine)).fit(features, targets)


def decisions(fit: Any, features: Any) -> NDArray[Any]:
    """Scores [texts, classes] above 0 for what is decided on; of two classes of which each text has one, scikit-learn gives one."""
    scores = fit.decision_function(features)
    return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores


def weights(fit: Any) -> int:
    """The number of fitted parameters."""
    return sum(machine.coef_.size + machine.intercept_.size for machine in machines(fit))


def machines(fit: Any) -> list[Any]:
    """What was fitted: one for all classes, or one a label."""
    return [machine for machine in getattr(fit, "estimators_", [fit]) if hasattr(machine, "coef_")]
