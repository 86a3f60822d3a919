"""Find the words of a text, also in languages that are written without spaces."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence

Span = tuple[int, int]  # the index of the first character, and the index after the last one

# First and last characters of scripts without spaces between words: Thai, Lao, Burmese, Khmer,
# Japanese kana, and Chinese characters.
_SCRIPTS = (
    (0x0E01, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3040, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
    (0x20000, 0x3FFFF),
)
SPACE, LETTER, SYMBOL = " ", "a", "?"  # kinds of characters


def find_words(text: str, tokens: Iterable[Span]) -> list[Span]:
    """Return the words of `text` in their order.

    A word is a sequence of letters, digits and their combining marks, or of other visible
    characters, such as punctuation or emoji. An apostrophe between letters belongs to the word. In
    a script without spaces, each token is a word. `tokens` are the spans of the tokens.
    """
    starts = {start for start, end in tokens if start < end}
    kinds = character_kinds(text)
    return [word for run in _runs(kinds) for word in _divided(text, run, starts)]


def character_kinds(text: str) -> list[str]:
    """Return the kind of each character: SPACE, LETTER or SYMBOL.

    Combining marks, variation selectors and joiners have the kind of the character before them.
    """
    kinds: list[str] = []
    for place, character in enumerate(text):
        before = kinds[-1] if kinds else SPACE
        if character.isalnum() or character == "_" or _is_inner_apostrophe(text, place):
            kinds.append(LETTER)
        elif character.isspace():
            kinds.append(SPACE)
        elif _extends(character):
            kinds.append(before)
        else:
            kinds.append(SPACE if unicodedata.category(character) == "Cc" else SYMBOL)
    return kinds


def _is_inner_apostrophe(text: str, place: int) -> bool:
    return text[place] in "'’" and text[place - 1 : place].isalnum() and text[place + 1 : place + 2].isalnum()


def _extends(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf")


def _runs(kinds: Sequence[str]) -> Iterator[Span]:
    """Yield the sequences of equal kinds, without spaces."""
    start = 0
    for end in range(1, len(kinds) + 1):
        if end == len(kinds) or kinds[end] != kinds[start]:
            if kinds[start] != SPACE:
                yield start, end
            start = end


def _divided(text: str, run: Span, starts: set[int]) -> Iterator[Span]:
    """Yield the run, divided before the tokens that start beside a character of `_SCRIPTS`."""
    start, end = run
    for place in range(start + 1, end):
        beside = _has_no_spaces(text[place - 1]) or _has_no_spaces(text[place])
        if beside and place in starts and not _extends(text[place]):
            yield start, place
            start = place
    yield start, end


def _has_no_spaces(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _SCRIPTS)
