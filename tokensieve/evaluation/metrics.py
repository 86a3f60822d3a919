"""Metrics of a classifier: F1 per class, loss and calibration error.

Targets are int64 [texts], the class of each text. For multi-label data they are float64 [texts,
classes] of 0 and 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, precision_recall_fscore_support

from tokensieve.inference.decisions import Logits, sigmoid, softmax

Float64s = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Targets = Ints | Float64s

BINS = 15  # of the reliability diagram


class Bin(NamedTuple):
    """One bin of a reliability diagram: the mean confidence and the accuracy of its texts, and their number.

    For multi-label data it is the mean probability, the share of labels that are present, and the
    number of text-label pairs.
    """

    confidence: float
    accuracy: float
    texts: int


def class_report(targets: Targets, predicted: NDArray[Any], labels: list[str]) -> dict[str, dict[str, Any]]:
    """Return precision, recall, F1 and support of each label; 0 if a ratio has no denominator.

    Args:
        targets: int64 [texts], or for multi-label data 0 and 1 [texts, classes].
        predicted: The same for the predictions.
        labels: The names of the classes.
    """
    values = precision_recall_fscore_support(targets, predicted, labels=range(len(labels)), zero_division=0)
    return {
        label: {
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "support": int(support),
        }
        for label, precision, recall, f1, support in zip(labels, *values, strict=True)
    }


def macro_f1(targets: Targets, predicted: NDArray[Any]) -> float:
    """Return the mean F1 over the classes that occur among the targets or the predictions; 0 if there are none."""
    if targets.ndim == 1:
        return float(f1_score(targets, predicted, average="macro", zero_division=0))
    occurring = np.flatnonzero((targets > 0).any(0) | (predicted > 0).any(0))
    if not len(occurring):
        return 0.0
    return float(f1_score(targets, predicted, labels=occurring, average="macro", zero_division=0))


def micro_f1(targets: Float64s, predicted: NDArray[Any]) -> float:
    """Return the F1 over all text-label pairs (multi-label)."""
    return float(f1_score(targets, predicted, average="micro", zero_division=0))


def loss(logits: Float64s, targets: Targets, temperature: float = 1.0) -> float:
    """Return the mean negative log-likelihood per text, nats; for multi-label data the sum over the labels."""
    return float(losses(logits, targets, temperature).mean())


def losses(logits: Float64s, targets: Targets, temperature: float = 1.0) -> Float64s:
    """Return the negative log-likelihood of each text, nats [texts]; for multi-label data the sum over the labels."""
    if targets.ndim == 2:
        scaled = logits / temperature
        return np.asarray((np.logaddexp(0.0, scaled) - targets * scaled).sum(1))
    likelihoods = softmax(logits, temperature)[np.arange(len(targets)), targets]
    return np.asarray(-np.log(np.maximum(likelihoods, 1e-300)))


def reliability(logits: Logits, targets: Targets, temperature: float = 1.0, bins: int = BINS) -> list[Bin]:
    """Return the reliability diagram in `bins` equal intervals of confidence, without the empty ones."""
    confidences, correct = (values.ravel() for values in _confidences(logits, targets, temperature))
    numbers = np.minimum((confidences * bins).astype(int), bins - 1)
    inside = [numbers == number for number in range(bins)]
    return [
        Bin(float(confidences[rows].mean()), float(correct[rows].mean()), int(rows.sum()))
        for rows in inside
        if rows.any()
    ]


def gaps(logits: Logits, targets: Targets, temperature: float = 1.0, bins: int = BINS) -> Float64s:
    """Return what each text adds to the gap between accuracy and confidence of each bin, float64 [texts, bins].

    The calibration error is the sum of the absolute column sums, divided by the size of `targets`.
    """
    confidences, correct = _confidences(logits, targets, temperature)
    numbers = np.minimum((confidences * bins).astype(int), bins - 1)
    return np.stack(
        [((correct - confidences) * (numbers == number)).sum(1) for number in range(bins)], axis=1
    )


def calibration_error(diagram: list[Bin]) -> float:
    """Return the expected calibration error: the mean distance of accuracy and confidence, weighted by the bins' texts.

    In multi-label data, most text-label pairs are clearly absent. The error is small then, and only
    comparable with itself.
    """
    total = sum(bin.texts for bin in diagram)
    return sum(bin.texts * abs(bin.accuracy - bin.confidence) for bin in diagram) / total


def _confidences(logits: Logits, targets: Targets, temperature: float) -> tuple[Float64s, Float64s]:
    """Return the confidences and whether they are correct (0 or 1): [texts, 1], for multi-label data [texts, classes]."""
    if targets.ndim == 2:
        return sigmoid(logits, temperature), np.asarray(targets, np.float64)
    probabilities = softmax(logits, temperature)
    correct = probabilities.argmax(1) == targets
    return probabilities.max(1, keepdims=True), correct.astype(np.float64)[:, None]
