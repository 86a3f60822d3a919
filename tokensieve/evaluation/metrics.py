"""What a classifier is worth: accuracy, F1, confusion, calibration, and the confidence below which it says "don't know".

Targets are int64 [texts], the class of each text, or, where texts have several labels or none, float64 [texts, classes] of 0 and 1.
Then a label is decided on by itself, against a threshold of its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokensieve.inference.decisions import sigmoid, softmax

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

FEW = 5  # texts with a label, below which its own best threshold says more of these texts than of the label


class Bin(NamedTuple):
    """One bin of a reliability diagram: mean confidence, accuracy and number of the texts whose confidence falls into it.

    With several labels a text: mean probability, share present and number of the pairs of a text and a label.
    """

    confidence: float
    accuracy: float
    texts: int


def confusion(targets: Ints, predicted: Ints, classes: int) -> Ints:
    """Counts [classes, classes]: row the true class, column the predicted one."""
    return np.bincount(targets * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def per_class(matrix: Ints, labels: list[str]) -> dict[str, dict[str, Any]]:
    """Precision, recall, F1 and support of each label, from a confusion matrix; 0 where a ratio has no denominator."""
    return _report(labels, np.diag(matrix), matrix.sum(0), matrix.sum(1))


def macro_f1(matrix: Ints) -> float:
    """Mean F1 over the classes that occur as truth or prediction."""
    return _macro_f1(np.diag(matrix), matrix.sum(0) + matrix.sum(1))


def per_label(
    decided: Bools, targets: Floats, thresholds: Floats, labels: list[str]
) -> dict[str, dict[str, Any]]:
    """As `per_class`, from decisions [texts, classes], with each label's threshold."""
    present = targets > 0
    report = _report(labels, (decided & present).sum(0), decided.sum(0), present.sum(0))
    return {label: row | {"threshold": float(thresholds[i])} for i, (label, row) in enumerate(report.items())}


def exact_match(decided: Bools, targets: Floats) -> Bools:
    """For each text, whether all its labels and no others are decided on; the mean is the subset accuracy."""
    return (decided == (targets > 0)).all(1)


def label_f1(decided: Bools, targets: Floats) -> tuple[float, float]:
    """Micro F1, over all pairs of a text and a label, and macro F1, the mean over the labels that occur as truth or decision."""
    present = targets > 0
    right, either = (decided & present).sum(0), decided.sum(0) + present.sum(0)
    return _ratio(2 * right.sum(), either.sum()), _macro_f1(right, either) if either.any() else 0.0


def loss(logits: Floats, targets: Ints | Floats, temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of a text, nats; with several labels, it is that of all of them."""
    return float(losses(logits, targets, temperature).mean())


def losses(logits: Floats, targets: Ints | Floats, temperature: float = 1.0) -> Floats:
    """Return the negative log-likelihood of each text, nats; with several labels, that of all of them."""
    if targets.ndim == 2:
        scaled = logits / temperature
        return np.asarray((np.logaddexp(0.0, scaled) - targets * scaled).sum(1))
    chosen = softmax(logits, temperature)[np.arange(len(targets)), targets]
    return np.asarray(-np.log(np.maximum(chosen, 1e-300)))


def fit_temperature(logits: Floats, targets: Ints | Floats, prior: float = 1.0) -> float:
    """Return the temperature with the lowest loss, between 0.05 and 20 (Guo et al. 2017, arXiv 1706.04599).

    A standard normal prior on its logarithm, worth `prior` texts, keeps it from running to the bound if all answers are right.
    The loss has one minimum in the inverse temperature, so a golden-section search over its logarithm finds it.
    """

    def cost(logarithm: float) -> float:
        return loss(logits, targets, float(np.exp(logarithm))) + prior * logarithm**2 / (2 * len(targets))

    low, high = np.log(0.05), np.log(20.0)
    golden = (np.sqrt(5.0) - 1) / 2
    while high - low > 1e-5:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if cost(left) <= cost(right):
            high = right
        else:
            low = left
    return round(float(np.exp((low + high) / 2)), 6)


def reliability(
    logits: NDArray[np.floating[Any]], targets: Ints | Floats, temperature: float = 1.0, bins: int = 15
) -> list[Bin]:
    """The reliability diagram in `bins` equal intervals of confidence, empty ones left out."""
    confidences, right = (values.ravel() for values in _judged(logits, targets, temperature))
    place = np.minimum((confidences * bins).astype(int), bins - 1)
    return [
        Bin(float(confidences[place == b].mean()), float(right[place == b].mean()), int((place == b).sum()))
        for b in range(bins)
        if (place == b).any()
    ]


def gaps(
    logits: NDArray[np.floating[Any]], targets: Ints | Floats, temperature: float = 1.0, bins: int = 15
) -> Floats:
    """Return what each text adds to the gap between accuracy and confidence of each bin of the diagram, [texts, bins].

    The calibration error is the sum of the absolute column sums, divided by the size of `targets`.
    """
    confidences, right = _judged(logits, targets, temperature)
    place = np.minimum((confidences * bins).astype(int), bins - 1)
    return np.stack([((right - confidences) * (place == b)).sum(1) for b in range(bins)], axis=1)


def _judged(
    logits: NDArray[np.floating[Any]], targets: Ints | Floats, temperature: float
) -> tuple[Floats, Floats]:
    """Return confidences and whether they are right, [texts, 1]; with several labels, those of each label, [texts, classes]."""
    if targets.ndim == 2:
        return sigmoid(logits, temperature), np.asarray(targets, np.float64)
    chances = softmax(logits, temperature)
    return chances.max(1, keepdims=True), (chances.argmax(1) == targets).astype(np.float64)[:, None]


def calibration_error(diagram: list[Bin]) -> float:
    """Expected calibration error: the mean distance of accuracy and confidence, weighted by the bins' counts.

    With several labels most pairs are plainly absent, so there it is a small number, good for comparing with itself.
    """
    total = sum(bin.texts for bin in diagram)
    return sum(bin.texts * abs(bin.accuracy - bin.confidence) for bin in diagram) / total


def fit_thresholds(chances: Floats, targets: Floats, few: int = FEW) -> Floats:
    """For each label the probability [classes] from which it is decided on: the one with the best F1 on these texts.

    A label that fewer than `few` of the texts have gets the threshold that is best for all labels together, by micro F1.
    """
    shared = _best_cut(chances.ravel(), targets.ravel())
    return np.array(
        [
            _best_cut(own, true) if true.sum() >= few else shared
            for own, true in zip(chances.T, targets.T, strict=True)
        ]
    )


def _best_cut(chances: Floats, targets: Floats) -> float:
    """The threshold with the best F1, half-way between the lowest probability above it and the highest below."""
    if not targets.any():
        return 0.5
    order = np.argsort(-chances, kind="stable")
    falling = np.append(chances[order], 0.0)
    f1 = 2 * targets[order].cumsum() / (np.arange(1, len(order) + 1) + targets.sum())
    # Equal probabilities cannot be parted.
    place = int(np.where(falling[:-1] > falling[1:], f1, 0.0).argmax())
    return float(np.clip((falling[place] + falling[place + 1]) / 2, 1e-6, 1 - 1e-6))


def _report(labels: list[str], right: Ints, predicted: Ints, true: Ints) -> dict[str, dict[str, Any]]:
    return {
        label: {
            "precision": _ratio(right[i], predicted[i]),
            "recall": _ratio(right[i], true[i]),
            "f1": _ratio(2 * right[i], predicted[i] + true[i]),
            "support": int(true[i]),
        }
        for i, label in enumerate(labels)
    }


def _macro_f1(right: Ints, either: Ints) -> float:
    return float(np.mean(2 * right[either > 0] / either[either > 0]))


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
