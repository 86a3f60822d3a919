"""Leave out phrases that are parts of one sentence: one of them shows what all of them show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from tokensieve.inference.words import words_in_a_row

ALIKE = 0.8  # share of the texts of the more frequent phrase


class Phrase(Protocol):
    """A word or phrase, and the number of texts that contain it."""

    @property
    def text(self) -> str: ...
    @property
    def texts(self) -> int: ...


P = TypeVar("P", bound=Phrase)


def without_overlaps(found: Iterable[P], most: int) -> list[P]:
    """Return the first `most` words and phrases, of overlapping ones the first.

    A phrase is left out if an earlier one contains it or is contained, or has more than half of its
    words at an end, and is in about as many texts: both are parts of one sentence.
    """
    kept: list[tuple[P, list[str]]] = []
    for one in found:
        if len(kept) == most:
            break
        words = words_in_a_row(one.text)[0]
        if not any(_is_alike(one, other) and _overlap(words, own) for other, own in kept):
            kept.append((one, words))
    return [one for one, _ in kept]


def _is_alike(one: Phrase, other: Phrase) -> bool:
    return min(one.texts, other.texts) >= ALIKE * max(one.texts, other.texts)


def _overlap(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether one contains the other, or their ends share more than half of the shorter."""
    short, long = sorted((one, other), key=len)
    if any(long[i : i + len(short)] == short for i in range(len(long) - len(short) + 1)):
        return True
    return any(
        short[-count:] == long[:count] or long[-count:] == short[:count]
        for count in range(len(short) // 2 + 1, len(short))
    )
