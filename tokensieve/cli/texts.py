"""The texts of a command: its arguments, or the lines of standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from tokensieve.errors import InputError


def text_batches(texts: Sequence[str], remedy: str) -> Iterator[list[str]]:
    """Yield the texts of the arguments, or the lines of standard input as they arrive.

    Raises:
        InputError: If standard input is empty and was not named with -. `remedy` is what to do.
    """
    if texts and list(texts) != ["-"]:
        # An argument that is not UTF-8 arrives with lone surrogates, which cannot be printed.
        yield [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        return
    rest, first = b"", True
    while block := os.read(sys.stdin.fileno(), 2**16):
        *lines, rest = (rest + block).split(b"\n")
        if lines:
            yield [_decoded(line, first and not place) for place, line in enumerate(lines)]
            first = False
    if rest:
        yield [_decoded(rest, first)]
    elif first and not texts:
        raise InputError(f"standard input is empty; {remedy}")


def _decoded(line: bytes, first: bool) -> str:
    return line.decode("utf-8-sig" if first else "utf-8", "replace").removesuffix("\r")
