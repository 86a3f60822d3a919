"""Normalize texts: which texts are copies of each other, and which texts are empty."""

from __future__ import annotations

import unicodedata


def normalize_text(text: str) -> str:
    """Return `text` in lower case and without white space at its ends.

    Texts that are then equal are copies of each other. The split of a project depends on this
    function: a change of it moves texts between train, validation and test.
    """
    return text.strip().lower()


def collapse_spaces(text: str) -> str:
    """Return `text` in lower case, with one space between words and none at its ends."""
    return " ".join(text.lower().split())


def is_blank(text: str) -> bool:
    """Return whether a text has no visible character.

    Invisible are white space and format characters, such as a zero-width space.
    """
    return all(char.isspace() or unicodedata.category(char) == "Cf" for char in text)
