"""Sets of texts that are copies of each other or mean the same, from pairs of similar texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array

from tokensieve.audit.near_copies import Ints, Pairs, comparable, near_copies
from tokensieve.bars import Bar

COPY, NEAR_COPY, MEANING = "copy", "near-copy", "meaning"
TRAIN = "train"


@dataclass(frozen=True)
class DuplicateSet:
    """Texts that are similar to the first of them.

    Attributes:
        kind: copy (the same words), near-copy (almost the same characters) or meaning (similar
            states).
        members: The indices of the texts.
        similarity: The lowest similarity to the first text: 1 for copies, the Jaccard similarity of
            shingles or the cosine of states.
        conflict: Whether their labels differ.
        leak: Whether some of them are trained on and others measure the model.
    """

    kind: str
    members: tuple[int, ...]
    similarity: float
    conflict: bool
    leak: bool


def copies_of(texts: Sequence[str]) -> tuple[list[str], Ints]:
    """Return the different texts as `comparable` makes them, and the index of each text's own.

    Returns:
        The different texts in the order of their first occurrence, and int64 [texts].
    """
    index: dict[str, int] = {}
    compared = map(comparable, Bar(texts, "looking for copies", "text"))
    own = np.array([index.setdefault(text, len(index)) for text in compared], np.int64)
    return list(index), own


def find_duplicates(
    different: Sequence[str],
    own: Ints,
    labels: Sequence[tuple[str, ...]],
    parts: Sequence[str],
    meaning: Pairs,
) -> list[DuplicateSet]:
    """Return the sets of similar texts.

    Copies and near-copies come before texts of the same meaning, since these are less certain; then
    conflicts first, then leaks, then the larger sets. A text may be in a set of both.

    Args:
        different, own: What `copies_of` returns.
        labels: The labels of each text.
        parts: The part of each text: `train`, or one that measures the model.
        meaning: Pairs of different texts with similar states, with their cosines.
    """
    members_of: dict[int, list[int]] = {}
    for text, place in enumerate(own.tolist()):
        members_of.setdefault(place, []).append(text)

    def sets(kind: str, pairs: Pairs) -> Iterator[DuplicateSet]:
        for stars, edges in _stars(len(different), pairs[0]):
            members = tuple(text for star in stars for text in members_of[star])
            if len(members) > 1 and (len(stars) > 1 or kind != MEANING):
                least = round(min(pairs[1][edges].tolist(), default=1.0), 4)
                conflict = len({labels[text] for text in members}) > 1
                leak = len({parts[text] == TRAIN for text in members}) > 1
                yield DuplicateSet(kind if edges else COPY, members, least, conflict, leak)

    surface = near_copies(different)
    found = [*sets(NEAR_COPY, surface), *sets(MEANING, _without(meaning, surface))]
    return sorted(
        found,
        key=lambda own: (
            own.kind == MEANING,
            not own.conflict,
            not own.leak,
            -len(own.members),
            own.members,
        ),
    )


def _without(pairs: Pairs, others: Pairs) -> Pairs:
    """Return the pairs that are not among `others`."""
    known = set(map(tuple, others[0].tolist()))
    kept = np.array([tuple(pair) not in known for pair in pairs[0].tolist()], dtype=bool)
    return pairs[0][kept], pairs[1][kept]


def _stars(texts: int, pairs: Ints) -> list[tuple[list[int], list[int]]]:
    """Divide the texts into sets in which all are similar to the first, and return also the pairs.

    The text with the most similar texts comes first and takes them. (Connected components would
    chain texts that have little in common.)
    """
    edges = np.arange(len(pairs)) + 1
    graph = coo_array((edges, (pairs[:, 0], pairs[:, 1])), shape=(texts, texts)).tocsr()
    graph = (graph + graph.T).tocsr()
    degrees = np.diff(graph.indptr)
    taken = np.zeros(texts, dtype=bool)
    found = []
    for centre in np.argsort(-degrees, kind="stable").tolist():
        if taken[centre]:
            continue
        taken[centre] = True
        around = slice(graph.indptr[centre], graph.indptr[centre + 1])
        free = ~taken[graph.indices[around]]
        members = graph.indices[around][free]
        taken[members] = True
        found.append(([centre, *members.tolist()], (graph.data[around][free] - 1).tolist()))
    return found
