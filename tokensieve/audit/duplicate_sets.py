"""Sets of texts that are copies of each other or mean the same, from pairs of similar texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array

from tokensieve.audit.near_copies import Ints, Pairs, comparable, near_copies

COPY, NEAR_COPY, MEANING = "copy", "near-copy", "meaning"
TRAIN = "train"


@dataclass(frozen=True)
class DuplicateSet:
    """Texts that are similar to the first of them.

    Attributes:
        kind: copy (the same words), near-copy (almost the same characters) or meaning (similar
            states): the weakest similarity in the set.
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
    own = np.array([index.setdefault(comparable(text), len(index)) for text in texts], np.int64)
    return list(index), own


def find_duplicates(
    different: Sequence[str],
    own: Ints,
    labels: Sequence[tuple[str, ...]],
    parts: Sequence[str],
    meaning: Pairs,
) -> list[DuplicateSet]:
    """Return the sets of similar texts: conflicts first, then leaks, then the larger sets.

    Args:
        different, own: What `copies_of` returns.
        labels: The labels of each text.
        parts: The part of each text: `train`, or one that measures the model.
        meaning: Pairs of different texts with similar states, with their cosines.
    """
    surface = near_copies(different)
    kinds = [NEAR_COPY] * len(surface[0]) + [MEANING] * len(meaning[0])
    pairs = np.concatenate([surface[0], meaning[0]])
    # A pair of both kinds is a near-copy: the sort is stable, and np.unique takes the first.
    unique, first = np.unique(pairs, axis=0, return_index=True)
    similarity = np.concatenate([surface[1], meaning[1]])[first]
    members_of: dict[int, list[int]] = {}
    for text, place in enumerate(own.tolist()):
        members_of.setdefault(place, []).append(text)
    found = []
    for stars, edges in _stars(len(different), unique):
        members = [text for star in stars for text in members_of[star]]
        if len(members) < 2:
            continue
        kind = max((kinds[first[edge]] for edge in edges), key=(NEAR_COPY, MEANING).index, default=COPY)
        least = min((float(similarity[edge]) for edge in edges if kinds[first[edge]] == kind), default=1.0)
        in_train = {parts[text] == TRAIN for text in members}
        conflict = len({labels[text] for text in members}) > 1
        found.append(DuplicateSet(kind, tuple(members), round(least, 4), conflict, len(in_train) > 1))
    return sorted(found, key=lambda own: (not own.conflict, not own.leak, -len(own.members), own.members))


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
