"""Leave out phrases that are parts of one sentence: one of them shows what all of them show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

ALIKE = 0.8  # share of the texts of the more frequent phrase


class Phrase(Protocol):
    """A word or phrase, and the number of texts that contain it."""

    @property
    def text(self) -> str: ...
    @property
    def texts(self) -> int: ...


P = TypeVar("P", bound=Phrase)


def without_overlaps(found: Sequence[P]) -> list[P]:
    """Return the strongest of overlapping words and phrases, in the order given.

    A phrase is left out if an earlier one shares words with it, as a whole or at an end, and is in
    about as many texts: both are parts of one sentence.
    """
    kept: list[P] = []
    for one in found:
        if not any(
            _overlap(one.text.split(), other.text.split()) and _is_alike(one, other) for other in kept
        ):
            kept.append(one)
    return kept


def _is_alike(one: Phrase, other: Phrase) -> bool:
    return min(one.texts, other.texts) >= ALIKE * max(one.texts, other.texts)


def _overlap(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether the end of one is the beginning of the other, or one contains the other."""
    short, long = sorted((one, other), key=len)
    if any(long[i : i + len(short)] == short for i in range(len(long) - len(short) + 1)):
        return True
    return any(
        short[-count:] == long[:count] or long[-count:] == short[:count] for count in range(1, len(short))
    )
