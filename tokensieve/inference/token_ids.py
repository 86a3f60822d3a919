"""Token ids of texts as a served model reads them, at a cost that is bounded by what it reads, not by the length of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import tokenizers

from tokensieve.inference.cut_points import Boundaries, boundaries_of
from tokensieve.truncation import HEAD, head_and_tail

CHARACTERS = 8  # that are tokenized first, per token that is read: English words take 4 to 5 per token
GROWTH = 4  # times as many if those were too few


@dataclass(frozen=True)
class Encoded:
    """The token ids of a text; `truncated`: it has more than the model reads."""

    ids: list[int]
    truncated: bool


class Encoder:
    """A tokenizer, at most `max_length` tokens of a text, and what `truncation` keeps of a longer one.

    The tokenizer is used as it is: with `truncation` head it must truncate by itself. It may be used from many threads at once.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, max_length: int, truncation: str) -> None:
        self._tokenizer = tokenizer
        self._most = max_length
        self._truncation = truncation

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Return the token ids of each text. They are those of the whole text, though only a part of a long one is tokenized."""
        found: list[Encoded | None] = [None] * len(texts)
        size = self._most * CHARACTERS
        while missing := [place for place, known in enumerate(found) if known is None]:
            parts = [self._part(texts[place], size) for place in missing]
            encodings = self._tokenizer.encode_batch_fast([without_surrogates(part) for part in parts])
            for place, part, encoding in zip(missing, parts, encodings, strict=True):
                found[place] = self._found(texts[place], part, encoding, size)
            size *= GROWTH
        return [encoded for encoded in found if encoded is not None]

    @cached_property
    def _boundaries(self) -> Boundaries | None:
        return boundaries_of(self._tokenizer)

    def _part(self, text: str, size: int) -> str:
        """Return about the first `size` characters, or the whole text."""
        if len(text) <= size or self._boundaries is None:
            return text
        at = self._boundaries.after(text, size)
        return text if at is None else text[:at]

    def _found(self, text: str, part: str, encoding: tokenizers.Encoding, size: int) -> Encoded | None:
        """Return what a part of a text shows of the whole. None: not enough."""
        ids = encoding.ids
        if self._truncation == HEAD:
            truncated = bool(encoding.overflowing)
            return Encoded(ids, truncated) if truncated or len(part) == len(text) else None
        if len(part) == len(text):
            return Encoded(head_and_tail(ids, self._most), len(ids) > self._most)
        last = self._most // 2
        tail = self._tail(text, size, last) if len(ids) > self._most else None
        return None if tail is None else Encoded([*ids[: self._most - last], *tail], True)

    def _tail(self, text: str, size: int, count: int) -> list[int] | None:
        """Return the last `count` tokens of a text from about its last `size` characters. None: they are too few."""
        assert self._boundaries is not None
        # What stands at the beginning of a text may be tokenized in another way than within it, up to the next boundary.
        start = self._boundaries.after(text, len(text) - size)
        end = None if start is None else self._boundaries.after(text, start + 1)
        if start is None or end is None:
            return None
        ids = self._tokenizer.encode(without_surrogates(text[start:])).ids
        special = self._tokenizer.num_special_tokens_to_add(False)
        first = len(self._tokenizer.encode(without_surrogates(text[start:end])).ids)
        return ids[len(ids) - count :] if len(ids) - special - first >= count else None


def without_surrogates(text: str) -> str:
    """Return `text` as a tokenizer takes it. JSON lets half a surrogate pair through, which is replaced; two halves are joined."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
