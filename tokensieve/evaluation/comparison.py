"""Compare the answers of two models on the same texts: is the challenger worse than the champion?

Targets and answers are int64 [texts], the label of each text. For multi-label data they are bool
[texts, labels]. Both models number the labels alike. A difference is the challenger's figure minus
the champion's. `benchmarks/studies/gate.py` measures how often these rules err.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tokensieve.evaluation import intervals
from tokensieve.evaluation.metrics import Bools, Float64s, Ints

DRAWS = 2000  # bootstrap samples per comparison
CHUNK = 250  # bootstrap samples in memory at once
HOLM, ALONE = 0.05, 0.01  # highest p-value of a class that falls: after Holm's correction, and by itself
ACCURACY, EXACT_MATCH, MICRO_F1, MACRO_F1 = "accuracy", "exact match", "micro F1", "macro F1"
Answers = Ints | Bools


class Verdict(StrEnum):
    """What the interval of a difference shows. Only `WORSE` is a reason to refuse a challenger."""

    BETTER = "better"
    SAME = "no measurable change"
    NOISE = "worse within noise"
    WORSE = "significantly worse"


@dataclass(frozen=True)
class Pair:
    """The answers of two models on the same texts, and the right ones."""

    targets: Answers
    champion: Answers
    challenger: Answers

    @property
    def multi_label(self) -> bool:
        """Whether a text may have any number of labels."""
        return self.targets.ndim == 2

    def correct(self) -> tuple[Bools, Bools]:
        """Return which texts champion and challenger get exactly right, each bool [texts]."""
        rows = self.targets.reshape(len(self.targets), -1)
        return (
            (self.champion.reshape(rows.shape) == rows).all(1),
            (self.challenger.reshape(rows.shape) == rows).all(1),
        )


class Difference(NamedTuple):
    """A figure of both models, and the 95% bootstrap interval of their difference."""

    champion: float
    challenger: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """The challenger's figure minus the champion's."""
        return self.challenger - self.champion

    def verdict(self, margin: float) -> Verdict:
        """Return what the interval shows. The challenger may lose `margin`.

        It is significantly worse if the whole interval is below 0, unless it loses less than
        `margin` for sure.
        """
        if self.low > 0:
            return Verdict.BETTER
        if self.value >= 0 or self.low >= -margin:
            return Verdict.SAME
        return Verdict.WORSE if self.high < 0 else Verdict.NOISE


class ClassFall(NamedTuple):
    """A class on which the challenger is worse.

    Attributes:
        label: The number of the label.
        texts: Texts with that label; for multi-label data also those that a model gives it.
        lost: Texts that only the champion gets right.
        won: Texts that only the challenger gets right.
    """

    label: int
    texts: int
    lost: int
    won: int

    @property
    def share(self) -> float:
        """The share of the texts that the challenger loses."""
        return (self.lost - self.won) / self.texts

    @property
    def p_value(self) -> float:
        """The one-sided p-value of the exact McNemar test."""
        return intervals.mcnemar_p_value(self.lost, self.won)


def differences(pair: Pair, seed: int = 0) -> dict[str, Difference]:
    """Return the differences in accuracy and macro F1.

    For multi-label data, those in exact match, micro and macro F1.

    The intervals are percentile intervals of the paired bootstrap (Efron and Tibshirani 1993,
    chapter 13): texts are drawn with replacement, with the answers of both models. Intervals of few
    texts are too narrow, so `_Patterns.weights` adds two texts.
    """
    patterns = _Patterns.of(pair)
    samples = [patterns.figures(drawn) for drawn in _draws(patterns.weights(), seed)]
    measured = patterns.figures(patterns.counts[None, :].astype(np.float64))
    found = {}
    for name, (champion, challenger) in measured.items():
        drawn = np.concatenate([sample[name][1] - sample[name][0] for sample in samples])
        low, high = intervals.bootstrap_interval(drawn.tolist())
        found[name] = Difference(float(champion[0]), float(challenger[0]), low, high)
    return found


def figure_intervals(targets: Answers, answers: Answers) -> dict[str, tuple[float, float]]:
    """Return the 95% percentile interval of each figure of one model, named as in `differences`."""
    patterns = _Patterns.of(Pair(targets, answers, answers))
    samples = [patterns.figures(drawn) for drawn in _draws(patterns.weights(), seed=0)]
    return {
        name: intervals.bootstrap_interval(np.concatenate([sample[name][0] for sample in samples]).tolist())
        for name in samples[0]
    }


def fallen_classes(pair: Pair, margin: float, floor: float) -> list[ClassFall]:
    """Return the classes on which the challenger is worse beyond chance, the largest fall first.

    A class is returned if it loses more than `margin` of its texts and its exact McNemar test is
    significant at 5% after Holm's correction (Holm 1979) for the number of classes. It is also
    returned if it loses at least the share `floor` and its test is significant at 1% by itself:
    after the correction, a class of ten texts could vanish unnoticed.
    """
    classes = list(_class_falls(pair))
    significant = holm([found.p_value for found in classes]) <= HOLM
    fallen = [
        found
        for found, is_significant in zip(classes, significant, strict=True)
        if (is_significant and found.share > margin) or (found.share >= floor and found.p_value <= ALONE)
    ]
    return sorted(fallen, key=lambda found: (-found.share, found.label))


def holm(p_values: Sequence[float]) -> Float64s:
    """Return the p-values after Holm's step-down correction (Holm 1979), in the given order."""
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    corrected = np.empty(len(values))
    corrected[order] = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return np.minimum(corrected, 1.0)


def calibration_difference(champion: Float64s, challenger: Float64s, size: int, seed: int = 0) -> Difference:
    """Return the difference in the expected calibration error, with its paired bootstrap interval.

    Args:
        champion: What `metrics.gaps` returns for the champion, float64 [texts, bins].
        challenger: The same for the challenger.
        size: The number of targets, as for `metrics.gaps`.
        seed: Of the draws.
    """
    both = np.concatenate([champion, challenger], axis=1)
    weights = np.ones(len(both))
    samples = np.concatenate([_calibration_errors(drawn @ both, size) for drawn in _draws(weights, seed)])
    measured = _calibration_errors(both.sum(0)[None, :], size)[0]
    low, high = intervals.bootstrap_interval((samples[:, 1] - samples[:, 0]).tolist())
    return Difference(float(measured[0]), float(measured[1]), low, high)


def _calibration_errors(sums: Float64s, size: int) -> Float64s:
    """Return the errors of champion and challenger, [draws, 2], from the sums of their gaps."""
    return np.abs(sums.reshape(len(sums), 2, -1)).sum(2) / size


class _Patterns(NamedTuple):
    """The distinct (target, champion, challenger) rows of a pair.

    Attributes:
        targets, champion, challenger: The labels of each pattern, 0 or 1 [patterns, labels].
        counts: The texts of each pattern, int64 [patterns].
        swapped: The texts of the pattern with the answers of the two models swapped.
        multi_label: As `Pair.multi_label`.
    """

    targets: csr_array
    champion: csr_array
    challenger: csr_array
    counts: Ints
    swapped: Ints
    multi_label: bool

    @classmethod
    def of(cls, pair: Pair) -> _Patterns:
        columns = [
            one.reshape(len(pair.targets), -1) for one in (pair.targets, pair.champion, pair.challenger)
        ]
        rows = np.concatenate([np.hstack(columns), np.hstack([columns[0], columns[2], columns[1]])])
        distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
        own, swapped = np.split(inverse.ravel(), 2)
        counts = [np.bincount(places, minlength=len(distinct)) for places in (own, swapped)]
        labels = columns[0].shape[1] if pair.multi_label else int(rows.max()) + 1
        parts = [_one_hot(part, labels, pair.multi_label) for part in np.split(distinct, 3, axis=1)]
        return cls(parts[0], parts[1], parts[2], counts[0], counts[1], pair.multi_label)

    def weights(self) -> Float64s:
        """Return the weight of each pattern in the bootstrap, float64 [patterns].

        Two texts are added. One favours each model, as Agresti and Min (2005) propose for the
        difference of two shares. They are spread over the texts with different answers and their
        swapped copies. Without them, four answers lost and none won would count as significant.
        """
        differ = (self.champion != self.challenger).sum(axis=1) > 0
        texts = int(self.counts[differ].sum())
        added = (self.counts + self.swapped) * differ / max(texts, 1)
        return np.asarray(self.counts + added, np.float64)

    def figures(self, counts: Float64s) -> dict[str, tuple[Float64s, Float64s]]:
        """Return each figure of champion and challenger, [draws].

        They are computed from the texts per pattern, [draws, patterns].
        """
        actual, total = counts @ self.targets, counts.sum(1)
        found: dict[str, list[Float64s]] = {}
        for answers in (self.champion, self.challenger):
            is_right = np.asarray((answers != self.targets).sum(axis=1) == 0, np.float64)
            right, given = counts @ answers.multiply(self.targets), counts @ answers
            own = {EXACT_MATCH if self.multi_label else ACCURACY: counts @ is_right / total}
            if self.multi_label:
                own[MICRO_F1] = _f1(right.sum(1), actual.sum(1), given.sum(1))
            # A label that is neither right nor given has no F1.
            occurring = np.maximum((actual + given > 0).sum(1), 1)
            own[MACRO_F1] = _f1(right, actual, given).sum(1) / occurring
            for name, values in own.items():
                found.setdefault(name, []).append(values)
        return {name: (values[0], values[1]) for name, values in found.items()}


def _one_hot(rows: NDArray[Any], labels: int, multi_label: bool) -> csr_array:
    if multi_label:
        return csr_array(rows.astype(np.float64))
    return csr_array((np.ones(len(rows)), (np.arange(len(rows)), rows[:, 0])), shape=(len(rows), labels))


def _f1(right: Float64s, actual: Float64s, given: Float64s) -> Float64s:
    return np.asarray(2 * right / np.maximum(actual + given, 1e-12))


def _draws(weights: Float64s, seed: int) -> Iterator[Float64s]:
    """Yield `DRAWS` bootstrap samples in blocks: texts per pattern, float64 [draws, patterns]."""
    random, total = np.random.default_rng(seed), float(weights.sum())
    for _ in range(DRAWS // CHUNK):
        yield random.multinomial(round(total), weights / total, CHUNK).astype(np.float64)


def _class_falls(pair: Pair) -> Iterator[ClassFall]:
    """Yield each label that a text has, with the texts lost and won.

    In multi-label data, also yield the labels that a model gives.
    """
    if pair.multi_label:
        inside = pair.targets.astype(bool) | (pair.champion > 0) | (pair.challenger > 0)
        was_right, is_right = pair.champion == pair.targets, pair.challenger == pair.targets
        texts, lost, won = (part.sum(0) for part in (inside, was_right & ~is_right, ~was_right & is_right))
    else:
        was_right, is_right = pair.correct()
        size = int(pair.targets.max(initial=-1)) + 1
        texts, lost, won = (
            np.bincount(pair.targets[part], minlength=size)
            for part in (slice(None), was_right & ~is_right, ~was_right & is_right)
        )
    for label in np.flatnonzero(texts):
        yield ClassFall(int(label), int(texts[label]), int(lost[label]), int(won[label]))
