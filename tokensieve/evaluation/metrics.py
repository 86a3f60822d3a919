"""Metrics of a classifier: F1 per class, loss and calibration; and the fit of the temperature and of the label thresholds.

Targets are int64 [texts], the class of each text. For multi-label data they are float64 [texts,
classes] of 0 and 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.metrics import f1_score, precision_recall_fscore_support

from tokensieve.inference.decisions import Logits, sigmoid, softmax

Float64s = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Targets = Ints | Float64s

MIN_TEXTS = 5  # a label with fewer texts gets the threshold that is best for all labels together
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


def fit_temperature(logits: Float64s, targets: Targets, prior: float = 1.0) -> float:
    """Return the temperature between 0.05 and 20 with the lowest loss (Guo et al. 2017, arXiv 1706.04599).

    A standard normal prior on the logarithm of the temperature counts as much as `prior` texts.
    Without it, the fit would run to a bound if all predictions are correct. The loss has a single
    minimum in the logarithm.
    """

    def cost(logarithm: float) -> float:
        return loss(logits, targets, float(np.exp(logarithm))) + prior * logarithm**2 / (2 * len(targets))

    bounds = (np.log(0.05), np.log(20.0))
    found = minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return round(float(np.exp(found.x)), 6)


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


def fit_thresholds(probabilities: Float64s, targets: Float64s, min_texts: int = MIN_TEXTS) -> Float64s:
    """Return for each label the probability from which it is given, float64 [classes]: the one with the best F1 on these texts.

    A label of fewer than `min_texts` texts gets the threshold with the best micro F1 of all labels.

    Args:
        probabilities: [texts, classes].
        targets: 0 and 1 [texts, classes].
        min_texts: Texts from which a label has a threshold of its own.
    """
    shared = _best_threshold(probabilities.ravel(), targets.ravel())
    return np.array(
        [
            _best_threshold(own, present) if present.sum() >= min_texts else shared
            for own, present in zip(probabilities.T, targets.T, strict=True)
        ]
    )


def _confidences(logits: Logits, targets: Targets, temperature: float) -> tuple[Float64s, Float64s]:
    """Return the confidences and whether they are correct (0 or 1): [texts, 1], for multi-label data [texts, classes]."""
    if targets.ndim == 2:
        return sigmoid(logits, temperature), np.asarray(targets, np.float64)
    probabilities = softmax(logits, temperature)
    correct = probabilities.argmax(1) == targets
    return probabilities.max(1, keepdims=True), correct.astype(np.float64)[:, None]


def _best_threshold(probabilities: Float64s, targets: Float64s) -> float:
    """Return the threshold with the best F1: the middle between the lowest probability above it and the highest below it."""
    if not targets.any():
        return 0.5
    order = np.argsort(-probabilities, kind="stable")
    falling = np.append(probabilities[order], 0.0)
    f1 = 2 * targets[order].cumsum() / (np.arange(1, len(order) + 1) + targets.sum())
    # No threshold lies between equal probabilities.
    last = int(np.where(falling[:-1] > falling[1:], f1, 0.0).argmax())
    return float(np.clip((falling[last] + falling[last + 1]) / 2, 1e-6, 1 - 1e-6))
