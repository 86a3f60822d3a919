"""The token ids that a model reads of each text.

The cost depends on the number of tokens that the model reads, not on the length of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import tokenizers

from tokensieve.data.normalize import is_blank
from tokensieve.inference.cut_points import CutPoints, find_cut_points
from tokensieve.inference.words import Span
from tokensieve.truncation import HEAD, head_and_tail

# At first, so many characters are tokenized per token that the model reads. English has 4 to 5
# characters per token.
CHARACTERS = 8
GROWTH = 4  # the factor on the number of characters if there were too few

_Read = tuple[list[int], bool]  # the token ids that the model reads, and whether there are more


@dataclass(frozen=True)
class TokenIds:
    """The token ids of a text, at least one.

    Attributes:
        ids: The ids that the model reads.
        truncated: Whether the text has more tokens than the model reads.
        blank: Whether the text has no visible character.
    """

    ids: list[int]
    truncated: bool
    blank: bool


class BoundedTokenizer:
    """A tokenizer that tokenizes only the part of a long text that the model reads.

    Several threads may use it at once.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, max_length: int, truncation: str) -> None:
        """Wrap a tokenizer.

        Args:
            tokenizer: With the truncation `head`, it must truncate to `max_length` tokens,
                otherwise it must not truncate.
            max_length: The maximum number of tokens that the model reads of a text.
            truncation: The part that is read of a longer text, `head` or `head_tail`.
        """
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._truncation = truncation

    def tokenize(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return the token ids of each text, the same as if the whole text were tokenized.

        Raises:
            TypeError: If `texts` is a single string.
        """
        if isinstance(texts, str):
            raise TypeError("texts is one text; give a list of texts")
        found: list[_Read | None] = [None] * len(texts)
        size = self._max_length * CHARACTERS
        while missing := [place for place, known in enumerate(found) if known is None]:
            parts = [self._start(texts[place], size) for place in missing]
            encodings = self._tokenizer.encode_batch_fast([replace_surrogates(part) for part in parts])
            for place, part, encoding in zip(missing, parts, encodings, strict=True):
                found[place] = self._read(texts[place], part, encoding, size)
            size *= GROWTH
        return [_token_ids(text, read) for text, read in zip(texts, found, strict=True) if read]

    def tokenize_with_spans(self, text: str) -> tuple[TokenIds, list[Span]]:
        """Return the token ids of a text without surrogates, and the span of each token in it.

        Special tokens have the span (0, 0).
        """
        size = self._max_length * CHARACTERS
        while True:
            part = self._start(text, size) if self._truncation == HEAD else text
            encoding = self._tokenizer.encode(part)
            if read := self._read(text, part, encoding, size):
                break
            size *= GROWTH
        spans = head_and_tail(encoding.offsets, self._max_length)
        return _token_ids(text, read), spans or [(0, 0)]

    @cached_property
    def _cut_points(self) -> CutPoints | None:
        return find_cut_points(self._tokenizer)

    def _start(self, text: str, size: int) -> str:
        """Return about the first `size` characters, or the whole text if it cannot be cut."""
        if len(text) <= size or self._cut_points is None:
            return text
        at = self._cut_points.after(text, size)
        return text if at is None else text[:at]

    def _read(self, text: str, part: str, encoding: tokenizers.Encoding, size: int) -> _Read | None:
        """Return what is read of `text`, from the encoding of its beginning, `part`.

        If `part` is too short, return None.
        """
        ids = encoding.ids
        if self._truncation == HEAD:
            truncated = bool(encoding.overflowing)
            return (ids, truncated) if truncated or len(part) == len(text) else None
        if len(part) == len(text):
            return head_and_tail(ids, self._max_length), len(ids) > self._max_length
        last = self._max_length // 2
        tail = self._tail(text, size, last) if len(ids) > self._max_length else None
        return None if tail is None else ([*ids[: self._max_length - last], *tail], True)

    def _tail(self, text: str, size: int, count: int) -> list[int] | None:
        """Return the last `count` tokens of a text from about its last `size` characters.

        If these have too few tokens, return None.
        """
        assert self._cut_points is not None
        # Before the second cut, the end of the text may have other tokens if it is tokenized alone.
        start = self._cut_points.after(text, len(text) - size)
        end = None if start is None else self._cut_points.after(text, start + 1)
        if start is None or end is None:
            return None
        ids = self._tokenizer.encode(replace_surrogates(text[start:])).ids
        special = self._tokenizer.num_special_tokens_to_add(False)
        first = len(self._tokenizer.encode(replace_surrogates(text[start:end])).ids)
        return ids[len(ids) - count :] if len(ids) - special - first >= count else None


def replace_surrogates(text: str) -> str:
    """Return `text` with the replacement character instead of lone surrogates.

    JSON allows lone surrogates, and a tokenizer refuses them. Two halves of a pair are joined.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _token_ids(text: str, read: _Read) -> TokenIds:
    # If the tokenizer adds no special tokens, an empty text has no token. The graph needs one.
    ids, truncated = read
    return TokenIds(ids or [0], truncated, is_blank(text))
