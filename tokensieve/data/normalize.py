"""When two texts count as the same, and when a text counts as empty."""

from __future__ import annotations

import unicodedata


def normalize_text(text: str) -> str:
    """Return `text` without white space around it and in lower case: texts that are then equal are
    copies of each other.

    The split of a project depends on this function: a change moves texts between train, validation
    and test.
    """
    return text.strip().lower()


def collapse_spaces(text: str) -> str:
    """Return `text` as `normalize_text` does, and with one space for each run of white space inside
    it.
    """
    return " ".join(text.lower().split())


def is_blank(text: str) -> bool:
    """Return whether a text has no visible character: only white space, zero-width characters and
    the like.
    """
    return all(char.isspace() or unicodedata.category(char) == "Cf" for char in text)
