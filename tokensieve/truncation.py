"""The truncation of a text with more tokens than the model reads, the same in training and in serving.

With `head`, the tokenizer keeps the first tokens. With `head_tail`, half of the tokens that are
kept come from the beginning and half from the end. Both halves have the special tokens of their
end, so the result looks like a whole text. Equal halves need no tuning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

HEAD, HEAD_TAIL = "head", "head_tail"

Token = TypeVar("Token")


def head_and_tail(tokens: Sequence[Token], most: int) -> list[Token]:
    """Return the first and the last of `tokens`, at most `most` together.

    If `most` is odd, the first half is longer by one.
    """
    if len(tokens) <= most:
        return list(tokens)
    return [*tokens[: most - most // 2], *tokens[len(tokens) - most // 2 :]]
