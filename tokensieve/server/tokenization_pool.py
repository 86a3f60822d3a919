"""Tokenization of long requests: on threads of its own, a bounded number of characters at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tokensieve.inference.load import Model
from tokensieve.inference.token_ids import Encoded

# Characters that are tokenized at once on the event loop: some 100 microseconds. Longer requests get a thread.
SHORT = 2_000
# Characters that a thread tokenizes at once. A token takes 100 to 200 bytes until only its id is left, so this is what bounds the memory.
PIECE = 64 * 1024


class TokenizationPool:
    """Tokenizes the texts of all requests. At most `threads` x `PIECE` characters are in work at once (a single text may be longer)."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="encode")

    async def encode(self, model: Model, texts: list[str]) -> list[Encoded]:
        """Return the token ids of each text. If the request is given up meanwhile, the texts that are left are not tokenized."""
        given_up = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, _encode, model, texts, given_up
            )
        finally:
            given_up.set()

    def close(self) -> None:
        """End the threads; what waits is not tokenized."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _encode(model: Model, texts: list[str], given_up: threading.Event) -> list[Encoded]:
    encoded: list[Encoded] = []
    for piece in _pieces(texts):
        if given_up.is_set():
            break
        encoded += model.encode(piece)
    return encoded


def _pieces(texts: list[str]) -> Iterator[list[str]]:
    """Yield the texts in lists of at most `PIECE` characters, or of one text."""
    piece: list[str] = []
    size = 0
    for text in texts:
        if piece and size + len(text) > PIECE:
            yield piece
            piece, size = [], 0
        piece.append(text)
        size += len(text)
    if piece:
        yield piece
