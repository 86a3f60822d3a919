"""Find the nearest neighbours of texts by the cosine of their states, without comparing all pairs.

Random trees (as in Annoy) split the texts: two random texts define a direction, and the median of
the projections divides the others. Only the texts of a leaf are compared with each other. A text's
neighbours are the best of several trees. Up to `LEAF` texts, the result is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokensieve.audit.near_copies import Floats, Ints, Pairs
from tokensieve.bars import Bar

LEAF = 512  # texts that are compared with each other
TREES = 8
NEIGHBOURS = 8
CHUNK = 65_536  # texts that are projected at once
SAME_MEANING = 0.95  # cosine of states
FAR_OUT = 3.0  # interquartile ranges below the lower quartile (Tukey 1977)


@dataclass(frozen=True)
class Neighbours:
    """The nearest neighbours of each text, the nearest first.

    Attributes:
        indices: int64 [texts, neighbours]; -1 if there are fewer.
        cosines: float32 [texts, neighbours]; -inf if there are fewer.
    """

    indices: Ints
    cosines: Floats

    def pairs(self, least: float) -> Pairs:
        """Return the pairs with a cosine of at least `least`."""
        rows, columns = np.nonzero(self.cosines >= least)
        found = np.sort(np.stack([rows, self.indices[rows, columns]], 1), 1)
        unique, places = np.unique(found, axis=0, return_index=True)
        return unique.reshape(-1, 2), self.cosines[rows, columns][places]

    def outliers(self) -> tuple[Ints, Floats]:
        """Return the texts unlike all others, the most unlike first, and how near the next is.

        The measure is the cosine to the third nearest neighbour, so that two of a kind do not hide
        each other. A text is an outlier if it is far out (`FAR_OUT`) among all texts.
        """
        if self.cosines.shape[1] < 3:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        third = self.cosines[:, 2]
        low, high = np.quantile(third, [0.25, 0.75])
        order = np.argsort(third, kind="stable")
        found = order[third[order] < low - FAR_OUT * (high - low)]
        return found, third[found]


def unit_length(states: Floats) -> Floats:
    """Return the states divided by their length; zero stays zero."""
    lengths = np.linalg.norm(states, axis=1, keepdims=True)
    return np.asarray(states / np.maximum(lengths, 1e-12), np.float32)


def find_neighbours(states: Floats, seed: int) -> Neighbours:
    """Return the nearest neighbours of each text.

    Args:
        states: States of unit length, float32 [texts, width].
        seed: Seeds the trees.
    """
    texts = len(states)
    most = min(NEIGHBOURS, max(texts - 1, 0))
    found = Neighbours(np.full((texts, most), -1), np.full((texts, most), -np.inf, np.float32))
    if not most:
        return found
    random = np.random.default_rng(seed)
    for _ in Bar(range(TREES if texts > LEAF else 1), "comparing meanings", "tree"):
        for leaf in _leaves(states, np.arange(texts), random):
            cosines = states[leaf] @ states[leaf].T
            np.fill_diagonal(cosines, -np.inf)
            columns = np.argpartition(-cosines, most - 1, axis=1)[:, :most]
            _keep_best(found, leaf, leaf[columns], np.take_along_axis(cosines, columns, 1))
    return found


def _leaves(states: Floats, rows: Ints, random: np.random.Generator) -> Iterator[Ints]:
    """Yield the leaves of a random tree over the texts `rows`."""
    if len(rows) <= LEAF:
        yield rows
        return
    one, other = random.choice(rows, 2, replace=False)
    direction = states[one] - states[other]
    chunks = (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))
    projected = np.concatenate([states[chunk] @ direction for chunk in chunks])
    halves = np.argpartition(projected, len(rows) // 2)
    for half in (halves[: len(rows) // 2], halves[len(rows) // 2 :]):
        yield from _leaves(states, rows[half], random)


def _keep_best(found: Neighbours, rows: Ints, indices: Ints, cosines: Floats) -> None:
    """Keep the nearest of the neighbours so far and of new ones, each neighbour once."""
    most = found.indices.shape[1]
    indices = np.concatenate([found.indices[rows], indices], 1)
    cosines = np.concatenate([found.cosines[rows], cosines], 1)
    order = np.argsort(indices, axis=1, kind="stable")
    indices = np.take_along_axis(indices, order, 1)
    cosines = np.take_along_axis(cosines, order, 1)
    repeated: npt.NDArray[np.bool_] = indices[:, 1:] == indices[:, :-1]
    cosines[:, 1:][repeated] = -np.inf
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :most]
    found.indices[rows] = np.take_along_axis(indices, order, 1)
    found.cosines[rows] = np.take_along_axis(cosines, order, 1)
