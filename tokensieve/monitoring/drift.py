"""Compare a window of today's texts with texts that the model was not trained on.

Never with training texts: the model's confidence on them is too high, so each window would differ.
A difference counts if it is significant (Holm's adjustment over all tests) and large enough to
matter. One window may differ by chance, so `is_alarm` needs two in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokensieve.monitoring.observations import Observations
from tokensieve.monitoring.two_samples import (
    Difference,
    Floats,
    distribution_difference,
    domain_classifier,
    holm,
    label_shift,
    mean_discrepancy,
    rank_difference,
    share_difference,
)

SIGNIFICANT = 0.01  # of the adjusted p-value
MOST_TEXTS = 1000  # of a sample: a larger one is drawn from
LEAST_TEXTS = 30  # of a sample
Z = 1.96  # of a 95% interval

# The smallest effect that counts, in the unit of each test.
FLOORS = {
    "domain": 0.05,  # area under the ROC curve, above 0.5
    "labels": 0.1,  # population stability index: below 0.1, practitioners see no shift
    "uncertain": 0.03,  # share of texts
    "confidence": 0.05,  # probability of superiority, from 0.5
    "length": 0.1,  # difference of cumulative shares
    "fragmented": 0.05,  # probability of superiority, from 0.5
}


@dataclass(frozen=True)
class Test:
    """A test of the window against the reference.

    Attributes:
        name: One of `FLOORS`.
        p: Adjusted for the number of tests (Holm).
        effect: The size of the difference.
        floor: The smallest effect that counts.
    """

    name: str
    p: float
    effect: float
    floor: float

    @property
    def differs(self) -> bool:
        """Whether the difference is significant and large enough to matter."""
        return self.p <= SIGNIFICANT and abs(self.effect) >= self.floor


@dataclass(frozen=True)
class Drift:
    """How a window differs from the reference.

    Attributes:
        tests: All tests.
        texts, reference_texts: The numbers of texts that were compared.
        expected_accuracy: The mean confidence, an estimate of the accuracy of a calibrated
            single-label model if only the texts' distribution changed, with its 95% interval.
        reference_expected_accuracy: The same for the reference.
        scores: The domain classifier's score of each text of the window: high ones are unlike the
            reference.
        rows: The indices of the texts in the window that were compared.
        discrepancy: The squared mean discrepancy of the states, not adjusted. It is a check of the
            domain classifier and has no part in `differs`.
    """

    tests: tuple[Test, ...]
    texts: int
    reference_texts: int
    expected_accuracy: tuple[float, float, float]
    reference_expected_accuracy: tuple[float, float, float]
    scores: tuple[float, ...]
    rows: tuple[int, ...]
    discrepancy: Difference

    @property
    def differs(self) -> bool:
        """Whether any test differs."""
        return any(test.differs for test in self.tests)


def find_drift(reference: Observations, window: Observations, seed: int = 0) -> Drift:
    """Return how `window` differs from `reference`, both of one model.

    From a sample of more than `MOST_TEXTS` texts that many are drawn with `seed`.
    """
    known, found = (_drawn(sample, seed) for sample in (reference, window))
    first, second = reference.take(known), window.take(found)
    domain, scores = domain_classifier(first.states, second.states, seed)
    differences = {
        "domain": Difference(domain.p, domain.effect - 0.5),
        "labels": label_shift(first.labels, second.labels, reference.classes, seed),
        "uncertain": share_difference(first.uncertain, second.uncertain),
        "confidence": rank_difference(first.confidence, second.confidence),
        "length": distribution_difference(first.tokens, second.tokens),
        "fragmented": rank_difference(first.fragmented, second.fragmented),
    }
    adjusted = holm([difference.p for difference in differences.values()])
    tests = tuple(
        Test(name, p, difference.effect, FLOORS[name])
        for (name, difference), p in zip(differences.items(), adjusted, strict=True)
    )
    return Drift(
        tests,
        len(second),
        len(first),
        _expected_accuracy(second.confidence),
        _expected_accuracy(first.confidence),
        tuple(float(score) for score in scores[len(first) :]),
        tuple(int(row) for row in found),
        mean_discrepancy(first.states, second.states, seed),
    )


def is_alarm(windows: Sequence[bool]) -> bool:
    """Return whether the last two windows differ. `windows` are all so far, oldest first."""
    return len(windows) >= 2 and windows[-1] and windows[-2]


def _drawn(sample: Observations, seed: int) -> npt.NDArray[np.int64]:
    if len(sample) <= MOST_TEXTS:
        return np.arange(len(sample))
    return np.sort(np.random.default_rng(seed).choice(len(sample), MOST_TEXTS, replace=False))


def _expected_accuracy(confidence: Floats) -> tuple[float, float, float]:
    """Return the mean confidence with its 95% interval: each text is right with its probability."""
    mean = float(confidence.mean())
    deviation = float(np.sqrt((confidence * (1 - confidence)).sum())) / len(confidence)
    return mean, max(0.0, mean - Z * deviation), min(1.0, mean + Z * deviation)
