"""Token ids of texts as a model reads them.

The cost depends on what the model reads, not on the length of a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import tokenizers

from tokensieve.inference.cut_points import CutPoints, find_cut_points
from tokensieve.truncation import HEAD, head_and_tail

CHARACTERS = 8  # characters tokenized at first per token that is read: English words have 4 to 5 per token
GROWTH = 4  # factor for the next try if those were too few


@dataclass(frozen=True)
class TokenIds:
    """The token ids of a text, at least one.

    Attributes:
        ids: The ids that the model reads.
        truncated: The text has more tokens than the model reads.
    """

    ids: list[int]
    truncated: bool


class BoundedTokenizer:
    """A tokenizer that tokenizes only as much of a long text as the model reads.

    Many threads may use it at once.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, max_length: int, truncation: str) -> None:
        """Use `tokenizer` as it is.

        Args:
            tokenizer: With the truncation `head` it must truncate to `max_length` tokens, otherwise
                not at all.
            max_length: Tokens per text that the model reads.
            truncation: What is read of a longer text, `head` or `head_tail`.
        """
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._truncation = truncation

    def tokenize(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return the token ids of each text: the same ids as if the whole text were tokenized.

        Raises:
            TypeError: If `texts` is a single string.
        """
        if isinstance(texts, str):
            raise TypeError("texts is one text; give a list of texts")
        found: list[TokenIds | None] = [None] * len(texts)
        size = self._max_length * CHARACTERS
        while missing := [place for place, known in enumerate(found) if known is None]:
            parts = [self._start(texts[place], size) for place in missing]
            encodings = self._tokenizer.encode_batch_fast([replace_surrogates(part) for part in parts])
            for place, part, encoding in zip(missing, parts, encodings, strict=True):
                found[place] = self._token_ids(texts[place], part, encoding, size)
            size *= GROWTH
        return [_at_least_one(tokens) for tokens in found if tokens is not None]

    @cached_property
    def _cut_points(self) -> CutPoints | None:
        return find_cut_points(self._tokenizer)

    def _start(self, text: str, size: int) -> str:
        """Return about the first `size` characters, or the whole text."""
        if len(text) <= size or self._cut_points is None:
            return text
        at = self._cut_points.after(text, size)
        return text if at is None else text[:at]

    def _token_ids(self, text: str, part: str, encoding: tokenizers.Encoding, size: int) -> TokenIds | None:
        """Return the token ids of `text` from the encoding of its beginning, `part`.

        None: that is too little.
        """
        ids = encoding.ids
        if self._truncation == HEAD:
            truncated = bool(encoding.overflowing)
            return TokenIds(ids, truncated) if truncated or len(part) == len(text) else None
        if len(part) == len(text):
            return TokenIds(head_and_tail(ids, self._max_length), len(ids) > self._max_length)
        last = self._max_length // 2
        tail = self._tail(text, size, last) if len(ids) > self._max_length else None
        return None if tail is None else TokenIds([*ids[: self._max_length - last], *tail], True)

    def _tail(self, text: str, size: int, count: int) -> list[int] | None:
        """Return the last `count` tokens of a text from about its last `size` characters.

        None: they are too few.
        """
        assert self._cut_points is not None
        # Up to the second cut, the end alone may have other tokens than within the text.
        start = self._cut_points.after(text, len(text) - size)
        end = None if start is None else self._cut_points.after(text, start + 1)
        if start is None or end is None:
            return None
        ids = self._tokenizer.encode(replace_surrogates(text[start:])).ids
        special = self._tokenizer.num_special_tokens_to_add(False)
        first = len(self._tokenizer.encode(replace_surrogates(text[start:end])).ids)
        return ids[len(ids) - count :] if len(ids) - special - first >= count else None


def replace_surrogates(text: str) -> str:
    """Return `text` without lone surrogates, which a tokenizer refuses and JSON allows.

    Two halves of a pair are joined. A lone half becomes the replacement character.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _at_least_one(tokens: TokenIds) -> TokenIds:
    # Without special tokens, an empty text has no token. The graph needs one.
    return tokens if tokens.ids else TokenIds([0], tokens.truncated)
