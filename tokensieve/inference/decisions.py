"""Decide labels and certainty from logits, for predictions and for the evaluation.

A single-label model gives the label with the highest softmax probability. A multi-label model gives
each label whose sigmoid probability is at least the threshold of the label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]

TEMPERATURES = (0.05, 20.0)  # the lowest and the highest that are fitted


@dataclass(frozen=True)
class DecisionRule:
    """The fitted numbers that turn logits into labels and certainty.

    Attributes:
        temperature: The logits are divided by it (Guo et al. 2017, arXiv 1706.04599).
        threshold: A prediction is uncertain if its confidence is below this.
        margin: A prediction is also uncertain if the probability of its label exceeds the second
            one by less than this (single-label models only).
        thresholds: A label is given if its probability is at least its threshold. Empty for a
            single-label model.
    """

    temperature: float
    threshold: float
    margin: float = 0.0
    thresholds: tuple[float, ...] = ()


class Decisions(NamedTuple):
    """The decisions on some texts.

    Attributes:
        labels: The index of the label, int64 [texts, 1]. For a multi-label model, whether each
            label is given, bool [texts, classes].
        probabilities: float64 [texts, classes].
        confident: False for the texts whose prediction is uncertain, bool [texts]. Blank texts are
            not considered here, but in `prediction.predictions`.
    """

    labels: npt.NDArray[Any]
    probabilities: Floats
    confident: npt.NDArray[np.bool_]


def decide(logits: Logits, rule: DecisionRule) -> Decisions:
    """Return the labels and the certainty of texts with these `logits` [texts, classes]."""
    if rule.thresholds:
        probabilities, thresholds = sigmoid(logits, rule.temperature), np.array(rule.thresholds)
        confident = certainty(probabilities, thresholds) >= rule.threshold
        return Decisions(probabilities >= thresholds, probabilities, confident)
    probabilities = softmax(logits, rule.temperature)
    confident = (probabilities.max(1) >= rule.threshold) & (lead(probabilities) >= rule.margin)
    return Decisions(probabilities.argmax(1)[:, None], probabilities, confident)


def softmax(logits: Logits, temperature: float = 1.0) -> Floats:
    """Return the softmax of `logits` / `temperature`, float64 [texts, classes].

    It is the probability of each label of a single-label model. `logits` are [texts, classes].
    """
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(1, keepdims=True)
    exponentials = np.exp(scaled)
    return exponentials / exponentials.sum(1, keepdims=True)


def sigmoid(logits: Logits, temperature: float = 1.0) -> Floats:
    """Return the sigmoid of `logits` / `temperature`, float64 [texts, classes].

    It is the probability of each label of a multi-label model. `logits` are [texts, classes].
    """
    return np.exp(-np.logaddexp(0.0, -logits.astype(np.float64) / temperature))


def log_odds(logits: Logits, column: int, rule: DecisionRule) -> Floats:
    """Return the log odds of one label, log(p / (1 - p)), for each text, float64 [texts].

    They are exact also if the probability is rounded to 1.

    Args:
        logits: [texts, classes].
        column: The index of the label.
        rule: The temperature, and whether the model is multi-label.
    """
    scaled = logits.astype(np.float64) / rule.temperature
    if rule.thresholds:
        return np.asarray(scaled[:, column])
    others = np.logaddexp.reduce(np.delete(scaled, column, axis=1), axis=1)
    return np.asarray(scaled[:, column] - others)


def lead(probabilities: Floats) -> Floats:
    """Return the difference between the two highest probabilities of each text, float64 [texts].

    `probabilities` are [texts, classes].
    """
    highest = np.partition(probabilities, -2, axis=1)
    return np.asarray(highest[:, -1] - highest[:, -2])


def certainty(probabilities: Floats, thresholds: Floats) -> Floats:
    """Return the certainty of a multi-label prediction for each text, 0.5 to 1, float64 [texts].

    It is the certainty of the least certain label. The odds of a label are divided by the odds of
    its threshold. So a probability equal to the threshold has certainty 0.5.

    Args:
        probabilities: [texts, classes].
        thresholds: [classes].
    """
    even = probabilities * (1 - thresholds)
    scaled = even / (even + (1 - probabilities) * thresholds)
    return np.maximum(scaled, 1 - scaled).min(1)
