"""Faults of the classes: few texts, and classes that overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tokensieve.audit.near_copies import Ints

FEW_TEXTS = 10
OVERLAP = 0.1  # share of both classes' texts
LEAST_CROSSED = 3  # texts


@dataclass(frozen=True)
class Overlap:
    """Two classes whose texts a probe takes for each other.

    Attributes:
        first, second: Their names.
        first_as_second, second_as_first: How many texts of one look like the other.
        share: These texts, as a share of the texts of both classes.
    """

    first: str
    second: str
    first_as_second: int
    second_as_first: int
    share: float


def overlapping_classes(given: Ints, predicted: Ints, names: Sequence[str]) -> list[Overlap]:
    """Return the pairs of classes that overlap, the largest share first.

    A pair overlaps if the probe takes texts of each for the other, at least `LEAST_CROSSED` texts
    and a share of `OVERLAP` in all. Crossings in one direction only are rather wrong labels.

    Args:
        given: The index of each text's class, int64 [texts].
        predicted: The most probable class out of fold, int64 [texts].
        names: The names of the classes.
    """
    from sklearn.metrics import confusion_matrix  # only here: a saved audit is read without it

    counts = confusion_matrix(given, predicted, labels=range(len(names)))
    sizes = counts.sum(1)
    crossed = np.triu(counts + counts.T, 1)
    found = []
    for i, j in zip(*np.nonzero(crossed >= LEAST_CROSSED), strict=True):
        share = float(crossed[i, j] / (sizes[i] + sizes[j]))
        if share >= OVERLAP and counts[i, j] and counts[j, i]:
            crossings = int(counts[i, j]), int(counts[j, i])
            found.append(Overlap(names[i], names[j], *crossings, round(share, 4)))
    return sorted(found, key=lambda pair: (-pair.share, pair.first, pair.second))


def small_classes(sizes: Mapping[str, int], least: int = FEW_TEXTS) -> list[tuple[str, int]]:
    """Return the classes with fewer than `least` texts and their sizes, the smallest first."""
    return sorted(((name, size) for name, size in sizes.items() if size < least), key=lambda own: own[::-1])
