"""What a classifier is worth: accuracy, F1, confusion, calibration, and the confidence below which it says "don't know"."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Bin(NamedTuple):
    """One bin of a reliability diagram: mean confidence, accuracy and number of the texts whose confidence falls into it."""

    confidence: float
    accuracy: float
    texts: int


def confusion(targets: Ints, predicted: Ints, classes: int) -> Ints:
    """Counts [classes, classes]: row the true class, column the predicted one."""
    return np.bincount(targets * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def per_class(matrix: Ints, labels: list[str]) -> dict[str, dict[str, Any]]:
    """Precision, recall, F1 and support of each label, from a confusion matrix; 0 where a ratio has no denominator."""
    right, predicted, true = np.diag(matrix), matrix.sum(0), matrix.sum(1)
    report = {}
    for i, label in enumerate(labels):
        report[label] = {
            "precision": _ratio(right[i], predicted[i]),
            "recall": _ratio(right[i], true[i]),
            "f1": _ratio(2 * right[i], predicted[i] + true[i]),
            "support": int(true[i]),
        }
    return report


def macro_f1(matrix: Ints) -> float:
    """Mean F1 over the classes that occur as truth or prediction."""
    right, either = np.diag(matrix), matrix.sum(0) + matrix.sum(1)
    return float(np.mean(2 * right[either > 0] / either[either > 0]))


def probabilities(logits: NDArray[np.floating[Any]], temperature: float = 1.0) -> Floats:
    """Softmax of `logits` [texts, classes] divided by `temperature`."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(1, keepdims=True)
    exponents = np.exp(scaled)
    return exponents / exponents.sum(1, keepdims=True)


def loss(logits: Floats, targets: Ints, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood, nats."""
    chosen = probabilities(logits, temperature)[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(chosen, 1e-300)).mean())


def fit_temperature(logits: Floats, targets: Ints) -> float:
    """The temperature with the lowest loss, between 0.05 and 20 (Guo et al. 2017, arXiv 1706.04599).

    A standard normal prior on its logarithm, worth one text, keeps it from running to the bound where all answers are right.
    The loss has one minimum in the inverse temperature, so a golden-section search over its logarithm finds it.
    """

    def cost(logarithm: float) -> float:
        return loss(logits, targets, float(np.exp(logarithm))) + logarithm**2 / (2 * len(targets))

    low, high = np.log(0.05), np.log(20.0)
    golden = (np.sqrt(5.0) - 1) / 2
    while high - low > 1e-5:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if cost(left) <= cost(right):
            high = right
        else:
            low = left
    return round(float(np.exp((low + high) / 2)), 6)


def reliability(logits: Floats, targets: Ints, temperature: float = 1.0, bins: int = 15) -> list[Bin]:
    """The reliability diagram in `bins` equal intervals of confidence, empty ones left out."""
    confidences, right = _confidence(logits, targets, temperature)
    place = np.minimum((confidences * bins).astype(int), bins - 1)
    return [
        Bin(float(confidences[place == b].mean()), float(right[place == b].mean()), int((place == b).sum()))
        for b in range(bins)
        if (place == b).any()
    ]


def calibration_error(diagram: list[Bin]) -> float:
    """Expected calibration error: the mean distance of accuracy and confidence, weighted by the bins' counts."""
    total = sum(bin.texts for bin in diagram)
    return sum(bin.texts * abs(bin.accuracy - bin.confidence) for bin in diagram) / total


def fit_threshold(logits: Floats, targets: Ints, temperature: float, coverage: float) -> float:
    """The confidence below which an answer is uncertain: the highest that keeps `coverage` of the right answers.

    Keeping a share of the right answers, rather than asking for an accuracy, gives a threshold also where all are right.
    """
    confidences, right = _confidence(logits, targets, temperature)
    kept = np.sort(confidences[right.astype(bool)])
    if not len(kept):
        return 0.0
    # Rounded down, so that the text which sets it stays on the accepted side in float32 as well.
    return float(np.floor(kept[int(np.floor((1 - coverage) * len(kept) + 1e-9))] * 1e6) / 1e6)


def _confidence(logits: Floats, targets: Ints, temperature: float) -> tuple[Floats, Floats]:
    chances = probabilities(logits, temperature)
    return chances.max(1), (chances.argmax(1) == targets).astype(np.float64)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
