"""Texts in scripts without spaces between words, such as Chinese, Japanese or Thai.

The constructs are words between spaces. In such scripts, whole sentences are one "word", so few
constructs are found.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from tokensieve.method.constructs import ngrams

# Han, Hiragana, Katakana, Thai, Lao, Tibetan, Burmese, Khmer.
_UNSPACED = re.compile(
    "[\u3005\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff]"
)


def is_unspaced(text: str) -> bool:
    """Return whether at least half of the letters of a text are of a script without spaces."""
    letters = sum(char.isalpha() for char in text)
    return letters > 0 and 2 * len(_UNSPACED.findall(text)) >= letters


def count_without_constructs(texts: Iterable[str], constructs: Collection[str], longest: int) -> int:
    """Return the number of texts that contain none of `constructs`.

    `constructs` are texts as `method.constructs` makes them, of at most `longest` words.
    """
    known = frozenset(constructs)
    return sum(all(words not in known for words, _, _ in ngrams(text, longest)) for text in texts)
