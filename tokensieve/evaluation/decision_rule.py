"""Fit the decision rule: the temperature (`temperature.py`), then the thresholds (`thresholds.py`).

`inference/decisions.py` turns logits into labels and certainty by this rule.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tokensieve.evaluation.metrics import Bools, Float64s, Targets
from tokensieve.evaluation.report import is_correct
from tokensieve.evaluation.temperature import cautious_temperature
from tokensieve.evaluation.thresholds import confidence_threshold, label_thresholds, threshold_interval
from tokensieve.inference.decisions import DecisionRule, certainty, sigmoid, softmax
from tokensieve.settings import Evaluate


class RuleFit(NamedTuple):
    """The fitted decision rule, and the entries of the evaluation report about the fit."""

    rule: DecisionRule
    report: dict[str, Any]


def fit_decision_rule(
    logits: Float64s, targets: Targets, oos_logits: Float64s, settings: Evaluate
) -> RuleFit:
    """Fit the rule on texts that were not trained on.

    Args:
        logits: float64 [texts, classes].
        targets: int64 [texts], or for multi-label data 0 and 1 [texts, classes].
        oos_logits: Logits of out-of-scope texts, float64 [out-of-scope texts, classes].
        settings: The coverage and the margin.
    """
    if targets.ndim == 2:
        return _fit_multilabel(logits, targets, settings)
    temperature = cautious_temperature(logits, targets)
    probabilities = softmax(logits, temperature)
    correct = is_correct(probabilities.argmax(1)[:, None], targets)
    oos_confidences = softmax(oos_logits, temperature).max(1)
    return _with_threshold(
        temperature, probabilities.max(1), correct, oos_confidences, settings, settings.margin, ()
    )


def _fit_multilabel(logits: Float64s, targets: Targets, settings: Evaluate) -> RuleFit:
    """Fit the rule for multi-label data.

    Out-of-scope texts are not used, because they should get no label, whatever the confidence is.
    """
    temperature = cautious_temperature(logits, targets)
    probabilities = sigmoid(logits, temperature)
    thresholds = label_thresholds(probabilities, np.asarray(targets, np.float64))
    confidences, correct = (
        certainty(probabilities, thresholds),
        is_correct(probabilities >= thresholds, targets),
    )
    return _with_threshold(
        temperature, confidences, correct, np.empty(0), settings, 0.0, tuple(thresholds.tolist())
    )


def _with_threshold(
    temperature: float,
    confidences: Float64s,
    correct: Bools,
    oos_confidences: Float64s,
    settings: Evaluate,
    margin: float,
    thresholds: tuple[float, ...],
) -> RuleFit:
    fitted_on = (confidences, correct, settings.coverage, oos_confidences)
    rule = DecisionRule(temperature, confidence_threshold(*fitted_on), margin, thresholds)
    entries = {
        "temperature": temperature,
        "threshold_interval": threshold_interval(*fitted_on),
        "calibration_texts": len(confidences),
        "calibration_oos_texts": len(oos_confidences),
    }
    return RuleFit(rule, entries)
