"""Tokenize long requests on threads of their own, a limited number of characters at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tokensieve.inference.load import Model
from tokensieve.inference.token_ids import TokenIds

# Characters of a request that is tokenized on the event loop, in about 100 microseconds. Longer
# ones use a thread.
SHORT = 2_000
# Characters that a thread tokenizes at once. The tokenizer needs 100 to 200 bytes per token, so
# this limits the memory.
PIECE = 64 * 1024


class TokenizationPool:
    """Threads that tokenize texts.

    At most `threads` x `PIECE` characters are tokenized at the same time. A single text may be
    longer.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="encode")

    async def encode(self, model: Model, texts: list[str]) -> list[TokenIds]:
        """Return the token ids of each text.

        If this task is cancelled, the rest of the texts is not tokenized.
        """
        cancelled = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, _encode, model, texts, cancelled
            )
        finally:
            cancelled.set()

    def close(self) -> None:
        """Stop the threads. Waiting texts are not tokenized."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _encode(model: Model, texts: list[str], cancelled: threading.Event) -> list[TokenIds]:
    encoded: list[TokenIds] = []
    for piece in _pieces(texts):
        if cancelled.is_set():
            break
        encoded += model.tokenize(piece)
    return encoded


def _pieces(texts: list[str]) -> Iterator[list[str]]:
    """Yield lists of texts with at most `PIECE` characters together, or with one longer text."""
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
