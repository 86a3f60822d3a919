"""Truncate texts with more tokens than the model reads, equally in training and in serving.

With `head`, the first tokens are kept. With `head_tail`, half of the tokens that are kept come from
the beginning and half from the end. Each half includes the special tokens at its end of the text,
so the result looks like a whole text. The halves are equal so that there is nothing to tune.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

HEAD, HEAD_TAIL = "head", "head_tail"

Token = TypeVar("Token")


def head_and_tail(tokens: Sequence[Token], most: int) -> list[Token]:
    """Return the first and the last of `tokens`, at most `most` in total.

    If `most` is odd, the first half is longer by one token.
    """
    if len(tokens) <= most:
        return list(tokens)
    return [*tokens[: most - most // 2], *tokens[len(tokens) - most // 2 :]]
