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
    """One bin of a reliability diagram: the mean confidence, the accuracy and the number of texts.

    For multi-label data they are the mean probability, the share of labels that are present, and
    the number of text-label pairs.
    """

    confidence: float
    accuracy: float
    texts: int


def class_report(targets: Targets, predicted: NDArray[Any], labels: list[str]) -> dict[str, dict[str, Any]]:
    """Return precision, recall, F1 and support of each label.

    A ratio whose denominator is 0 is 0.

    Args:
        targets: int64 [texts], or for multi-label data 0 and 1 [texts, classes].
        predicted: The predictions, in the form of `targets`.
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
    """Return the mean F1 over the classes that occur in the targets or in the predictions.

    It is 0 if no class does.
    """
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
    """Return the mean negative log-likelihood per text, in nats (see `losses`)."""
    return float(losses(logits, targets, temperature).mean())


def losses(logits: Float64s, targets: Targets, temperature: float = 1.0) -> Float64s:
    """Return the negative log-likelihood of each text, in nats, float64 [texts].

    For multi-label data it is the sum over the labels.
    """
    if targets.ndim == 2:
        scaled = logits / temperature
        return np.asarray((np.logaddexp(0.0, scaled) - targets * scaled).sum(1))
    likelihoods = softmax(logits, temperature)[np.arange(len(targets)), targets]
    return np.asarray(-np.log(np.maximum(likelihoods, 1e-300)))


def reliability(logits: Logits, targets: Targets, temperature: float = 1.0, bins: int = BINS) -> list[Bin]:
    """Return the reliability diagram: its bins, of equal width, without those that are empty."""
    confidences, correct = (values.ravel() for values in _confidences(logits, targets, temperature))
    numbers = np.minimum((confidences * bins).astype(int), bins - 1)
    inside = [numbers == number for number in range(bins)]
    return [
        Bin(float(confidences[rows].mean()), float(correct[rows].mean()), int(rows.sum()))
        for rows in inside
        if rows.any()
    ]


def gaps(logits: Logits, targets: Targets, temperature: float = 1.0, bins: int = BINS) -> Float64s:
    """Return the part of each text in the gap between accuracy and confidence of each bin.

    The result is float64 [texts, bins]. The calibration error is the sum of the absolute column
    sums, divided by the size of `targets`.
    """
    confidences, correct = _confidences(logits, targets, temperature)
    numbers = np.minimum((confidences * bins).astype(int), bins - 1)
    return np.stack(
        [((correct - confidences) * (numbers == number)).sum(1) for number in range(bins)], axis=1
    )


def calibration_error(diagram: list[Bin]) -> float:
    """Return the expected calibration error (Guo et al. 2017, arXiv 1706.04599), 0 to 1.

    It is the mean absolute difference of accuracy and confidence over the bins, weighted by their
    numbers of texts. For multi-label data the error is small, because most labels are clearly
    absent from most texts. So it can only be compared with other multi-label errors.
    """
    total = sum(bin.texts for bin in diagram)
    return sum(bin.texts * abs(bin.accuracy - bin.confidence) for bin in diagram) / total


def _confidences(logits: Logits, targets: Targets, temperature: float) -> tuple[Float64s, Float64s]:
    """Return the confidences, and 1 for those of correct predictions, 0 for the others.

    Both are [texts, 1], or for multi-label data [texts, classes].
    """
    if targets.ndim == 2:
        return sigmoid(logits, temperature), np.asarray(targets, np.float64)
    probabilities = softmax(logits, temperature)
    correct = probabilities.argmax(1) == targets
    return probabilities.max(1, keepdims=True), correct.astype(np.float64)[:, None]
