"""Find the words of a text, also in languages that are written without spaces.

This is the only place that decides what a word is. Constructs, explanations, baselines and drift
all follow it:

- A word is a sequence of letters and digits with their combining marks (Unicode UAX 29, rule WB4),
  such as the vowel signs of Hindi.
- An apostrophe between letters belongs to the word.
- In a script without spaces between words, each character with its marks is a word. Phrases of two
  or three of them are then what words are in other scripts. A dictionary would find better words,
  but for one language only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

Span = tuple[int, int]  # the index of the first character, and the index after the last one

# Characters of scripts without spaces between words, as ranges of a regular expression: Thai, Lao,
# Burmese, Khmer, Japanese kana, and Chinese characters.
UNSPACED = (
    "\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f"
    "\u3005\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
APOSTROPHES = "'’"
SPACE, LETTER, SYMBOL = " ", "a", "?"  # kinds of characters
# Zero-width (non-)joiners: Persian and several scripts of India have them within words.
_JOINERS = "\u200c\u200d"
_ZERO_WIDTH_SPACE = "\u200b"  # separates words, though it is a format character in Unicode


@cache
def marks() -> str:
    """Return the combining marks of Unicode, as ranges of a regular expression."""
    # Other planes have none.
    found = [*range(0x300, 0x20000), *range(0xE0100, 0xE01F0)]
    found = [point for point in found if unicodedata.category(chr(point)) in ("Mn", "Mc", "Me")]
    firsts = [point for before, point in zip([-2, *found], found, strict=False) if point != before + 1]
    lasts = [point for point, after in zip(found, [*found[1:], -2], strict=True) if after != point + 1]
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in zip(firsts, lasts, strict=True))


@cache
def word_pattern(inner: str = "") -> str:
    """Return the regular expression of a word, without groups.

    Characters of `inner` belong to a word if they are between letters.
    """
    letter = rf"[^\W{UNSPACED}]"
    run = rf"{letter}+(?:[{marks()}]+{letter}*|[{_JOINERS}]{letter}+)*"
    joined = rf"(?:[{inner}]{run})*" if inner else ""
    return rf"(?=\w)[{UNSPACED}][{marks()}]*|{run}{joined}"


def word_spans(text: str) -> list[Span]:
    """Return the words of `text` in their order, without punctuation and symbols."""
    # Texts of ASCII characters are the same with the simple expression, which is faster.
    pattern = _ascii_words() if text.isascii() else _words()
    return [found.span() for found in pattern.finditer(text)]


@cache
def _ascii_words() -> re.Pattern[str]:
    return re.compile(r"\w+(?:'\w+)*")


@cache
def _words() -> re.Pattern[str]:
    return re.compile(word_pattern(APOSTROPHES))


@cache
def _unspaced() -> re.Pattern[str]:
    return re.compile(f"[{UNSPACED}]")


def ngrams(text: str, longest: int) -> Iterator[tuple[str, int, int]]:
    """Yield the n-grams of 1 to `longest` words in `text`, in lower case.

    There is one space between the words of an n-gram, unless the text has nothing between them, as
    in scripts without spaces. No n-gram crosses a line end. With each n-gram come the index of its
    first character and the index after its last character.
    """
    spans = word_spans(text)
    words = [text[start:end].lower() for start, end in spans]
    for first, (start, _) in enumerate(spans):
        name = words[first]
        yield name, start, spans[first][1]
        for last in range(first + 1, min(first + longest, len(spans))):
            if "\n" in text[spans[last - 1][1] : spans[last][0]]:
                break
            name += ("" if spans[last][0] == spans[last - 1][1] else " ") + words[last]
            yield name, start, spans[last][1]


def words_in_a_row(text: str) -> tuple[list[str], list[bool]]:
    """Return the words in lower case, and whether nothing is between each and the one before it."""
    if text.isascii():
        words = _ascii_words().findall(text.lower())
        return words, [False] * len(words)
    spans = word_spans(text)
    ends = [-1, *(end for _, end in spans)]
    glued = [start == before for (start, _), before in zip(spans, ends, strict=False)]
    return [text[start:end].lower() for start, end in spans], glued


def construct_name(text: str) -> str:
    """Return the name that `ngrams` gives to all words of `text`. Without words: in lower case."""
    words, glued = words_in_a_row(text)
    name = "".join(("" if close else " ") + word for word, close in zip(words, glued, strict=True))
    return name.strip() or " ".join(text.lower().split())


def count_words(construct: str) -> int:
    """Return the number of words of a construct."""
    return len(word_spans(construct))


def is_unspaced(text: str) -> bool:
    """Return whether at least half of the letters of `text` are of a script without spaces."""
    letters = 0 if text.isascii() else sum(character.isalpha() for character in text)
    return letters > 0 and 2 * sum(map(str.isalpha, _unspaced().findall(text))) >= letters


def find_words(text: str, tokens: Iterable[Span]) -> list[Span]:
    """Return the words of `text` in their order, and the punctuation and symbols between them.

    These are the words to show to people. In a script without spaces, each token is a word. A
    sequence of other visible characters, such as punctuation or emoji, is a word too. `tokens` are
    the spans of the tokens.
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
        elif character.isspace() or character == _ZERO_WIDTH_SPACE:
            kinds.append(SPACE)
        elif _extends(character):
            kinds.append(before)
        else:
            kinds.append(SPACE if unicodedata.category(character) == "Cc" else SYMBOL)
    return kinds


def _is_inner_apostrophe(text: str, place: int) -> bool:
    near = text[place - 1 : place], text[place + 1 : place + 2]
    return text[place] in APOSTROPHES and all(map(str.isalnum, near))


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
    """Yield the run, divided before the tokens that start beside a character without spaces."""
    start, end = run
    for place in range(start + 1, end):
        beside = _unspaced().match(text, place - 1) or _unspaced().match(text, place)
        if beside and place in starts and not _extends(text[place]):
            yield start, place
            start = place
    yield start, end
