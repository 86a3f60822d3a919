"""How a text with more tokens than the model reads is truncated: the same for training and for serving.

With `head`, the tokenizer keeps the first tokens. With `head_tail`, the first half and the last half of the tokens are kept. Special
tokens at both ends are among them, so the result looks like a whole text. The halves are a plain choice that needs no tuning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

HEAD, HEAD_TAIL = "head", "head_tail"

Token = TypeVar("Token")


def head_and_tail(tokens: Sequence[Token], most: int) -> list[Token]:
    """Return the first and the last of `tokens`, together at most `most`; the first half is the longer one if `most` is odd."""
    if len(tokens) <= most:
        return list(tokens)
    return [*tokens[: most - most // 2], *tokens[len(tokens) - most // 2 :]]
