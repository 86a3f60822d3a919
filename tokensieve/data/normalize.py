"""Normalize texts: which texts are copies of each other, and which texts are empty."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

# Characters that Unicode does not count as control or format characters, and that show nothing:
# fillers of Hangul, Khmer and Braille, the grapheme joiner, and variation selectors.
BLANKS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")  # those of ASCII that are not white space


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
    if text.isascii() and not CONTROLS.search(text):
        return " ".join(text.lower().split())
    composed = unicodedata.normalize("NFKC", normalize_text(text)).lower()
    return " ".join(without_invisible(composed).split())


def without_invisible(text: str) -> str:
    """Return `text` without characters that show nothing, except white space."""
    return "".join(char for char in text if char.isspace() or not _is_invisible(char))


def is_blank(text: str) -> bool:
    """Return whether a text has no visible character.

    Invisible are white space, control characters (Unicode category Cc), format characters (Cf),
    such as a zero-width space, and `BLANKS`.
    """
    return all(char.isspace() or _is_invisible(char) for char in text)


@cache
def _is_invisible(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf") or char in BLANKS
