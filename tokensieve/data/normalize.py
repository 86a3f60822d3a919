"""Normalize texts: which texts are copies of each other, and which texts are empty."""

from __future__ import annotations

import unicodedata

# They show nothing alone, and Unicode counts them neither as white space nor as control or format
# characters: the grapheme joiner, fillers of Hangul, Khmer and Braille, and variation selectors.
# The console has the same list (server/console/csv.js).
BLANKS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)


def normalize_text(text: str) -> str:
    """Return `text` in lower case and without white space at its ends.

    The part of a text in the split follows from a hash of this: a change of this function moves
    texts between train, validation and test.
    """
    return text.strip().lower()


def copy_key(text: str) -> str:
    """Return a key that copies of a text share, though they differ in what people do not see.

    That is case, the number of blanks, invisible characters, and how Unicode writes a character:
    composed or not, full-width or not (NFKC).
    """
    if text.isascii():
        return " ".join(text.lower().split())
    composed = unicodedata.normalize("NFKC", normalize_text(text)).lower()
    return " ".join(without_invisible(composed).split())


def without_invisible(text: str) -> str:
    """Return `text` without format characters (Unicode category Cf), such as zero-width spaces."""
    return "".join(char for char in text if unicodedata.category(char) != "Cf")


def is_blank(text: str) -> bool:
    """Return whether a text has no visible character.

    Invisible are white space, control characters (Unicode category Cc), format characters (Cf),
    such as a zero-width space, and `BLANKS`.
    """
    return all(
        char.isspace() or char in BLANKS or unicodedata.category(char) in ("Cc", "Cf") for char in text
    )
