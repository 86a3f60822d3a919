"""Dynamic batching: compute the texts of several requests together.

A free worker takes queued texts with the same number of tokens, up to a token budget, so nothing is
padded. No request waits for a batch to fill. Large requests have a queue of their own, which gets
every fourth turn.

If only one client is active, its short texts are computed on the event loop. Waking a worker, and
being woken by it, would add about 0.5 ms, a tenth to a fifth of the whole response time.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np

from tokensieve.inference.load import Model
from tokensieve.server.text_queue import Logits, QueuedRequest, QueuedText, TextQueue

LARGE_EVERY = 4  # one of this many turns is for large requests while small ones wait too
MAX_INLINE_TOKENS = 48  # longest text that may block the event loop, for some milliseconds
QUIET = 0.02  # seconds without a request after which another client counts as the only one

Result = tuple[QueuedRequest, Logits | Exception]


class QueueFull(Exception):  # noqa: N818 - a state that clients are informed of, not a fault
    """The queue contains as many texts as it may."""


class Batcher:
    """Threads that compute queued texts.

    Args:
        workers: Number of threads.
        budget: The most tokens that one thread computes together. A single text may have more.
        queue: The most texts that wait.
        observe: Called with the number of texts of each computation.
    """

    def __init__(
        self, workers: int, budget: int, queue: int, observe: Callable[[int], None] = lambda texts: None
    ) -> None:
        self.waiting = 0
        self._budget, self._queue, self._observe = budget, queue, observe
        self._changed = threading.Condition()
        self._small, self._large = TextQueue(), TextQueue()
        self._turn, self._closed, self._expected = 0, False, 0
        self._active, self._client, self._last_response = 0, "", -QUIET
        self._threads = [
            threading.Thread(target=self._work, name=f"compute-{i}", daemon=True) for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    async def compute(self, model: Model, ids: Sequence[Sequence[int]], client: str = "") -> Logits:
        """Return the float32 logits [texts, classes] of the texts of one request.

        Always call it on the same event loop.

        Args:
            model: The model that computes.
            ids: Token ids of each text.
            client: The connection of the request, to find out whether only one client is active.

        Raises:
            QueueFull: If more texts would wait than may.
            Exception: What the model raises.
        """
        if not ids:
            return np.empty((0, model.classes), dtype=np.float32)
        inline = len(ids) == 1 and len(ids[0]) <= MAX_INLINE_TOKENS and self._is_only_client(client)
        self._active, self._client = self._active + 1, client
        try:
            if not inline:
                return await self._queued(model, ids)
            self._observe(1)
            return model.run(ids)
        finally:
            self._active, self._last_response = self._active - 1, time.monotonic()

    @contextmanager
    def expecting(self, texts: int) -> Iterator[None]:
        """Reserve room in the queue for texts that are still being tokenized.

        Raises:
            QueueFull: If more texts would wait than may.
        """
        self._refuse_if_full(texts)
        self._expected += texts
        try:
            yield
        finally:
            self._expected -= texts

    def idle(self) -> float:
        """Return the seconds since the last response. 0 while a request is in progress."""
        return 0.0 if self._active else time.monotonic() - self._last_response

    def _refuse_if_full(self, texts: int) -> None:
        # A single request may always wait, however large: its size is limited elsewhere.
        queued = self.waiting + self._expected
        if queued and queued + texts > self._queue:
            raise QueueFull

    def _is_only_client(self, client: str) -> bool:
        """Return whether no other client seems to be active.

        No request is in progress, and the last one came from the same client or is long over.
        Otherwise two clients that take turns would both be computed on the event loop, one after
        the other.
        """
        return (
            bool(client)
            and not self._active
            and (client == self._client or time.monotonic() - self._last_response > QUIET)
        )

    async def _queued(self, model: Model, ids: Sequence[Sequence[int]]) -> Logits:
        loop = asyncio.get_running_loop()
        logits = np.empty((len(ids), model.classes), dtype=np.float32)
        request = QueuedRequest(model, logits, len(ids), loop.create_future())
        with self._changed:
            self._refuse_if_full(len(ids))
            self.waiting += len(ids)
            queue = self._small if sum(map(len, ids)) <= self._budget else self._large
            for row, text in enumerate(ids):
                queue.add(QueuedText(request, row, text))
            self._changed.notify(len(ids))
        try:
            return await request.future
        except asyncio.CancelledError:
            self._forget(request)
            raise

    def _forget(self, request: QueuedRequest) -> None:
        """Remove the texts of a cancelled request from the queue."""
        with self._changed:
            for queue in (self._small, self._large):
                self.waiting -= queue.remove(request)

    def close(self, seconds: float = 5.0) -> None:
        """Drop what is queued, and wait up to `seconds` for each worker's current computation."""
        with self._changed:
            self._closed = True
            for queue in (self._small, self._large):
                queue.waiting.clear()
            self.waiting = 0
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(seconds)

    def _work(self) -> None:
        while self._work_once():
            pass

    def _work_once(self) -> bool:
        """Take texts, compute and deliver their logits. Return False if the batcher is closed.

        A function of its own, so that the thread refers to no model while it waits.
        """
        groups = self._next()
        # All groups are computed before any logits are delivered: the event loop, once woken,
        # interrupts the worker.
        _deliver(self._complete([(group, _compute(group)) for group in groups]))
        return bool(groups)

    def _next(self) -> list[list[QueuedText]]:
        """Wait for the next groups and return them; none if the batcher is closed."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._closed or self.waiting)
                if not self.waiting:
                    return []
                self._turn += 1
                small, large = self._small.waiting, self._large.waiting
                first = large and (not small or self._turn % LARGE_EVERY == 0)
                share = math.ceil(self.waiting / len(self._threads))
                taken = (self._large if first else self._small).take(self._budget, share)
                self.waiting -= sum(map(len, taken))
                # Skip texts of requests that were cancelled or have failed.
                wanted = [[item for item in group if not item.request.future.done()] for group in taken]
                if groups := [group for group in wanted if group]:
                    return groups

    def _complete(self, computed: list[tuple[list[QueuedText], Logits | Exception]]) -> list[Result]:
        """Return the requests that now have all their logits, or have failed."""
        results: list[Result] = []
        for group, logits in computed:
            if isinstance(logits, Exception):
                results += [(item.request, logits) for item in group]
                continue
            self._observe(len(group))
            with self._changed:
                for item, row in zip(group, logits, strict=True):
                    item.request.logits[item.row] = row
                    item.request.missing -= 1
                    if not item.request.missing:
                        results.append((item.request, item.request.logits))
        return results


def _compute(group: list[QueuedText]) -> Logits | Exception:
    model = group[0].request.model
    try:
        logits = model.run([item.ids for item in group])
        if logits.shape != (len(group), model.classes):
            shape = list(logits.shape)
            raise ValueError(
                f"the graph gives logits {shape} for {len(group)} texts of {model.classes} classes"
            )
        return logits
    except Exception as error:
        return error


def _deliver(results: list[Result]) -> None:
    """Set the results of requests, all of one event loop, by one call into this loop."""

    def set_results() -> None:
        for request, result in results:
            if request.future.done():
                continue
            if isinstance(result, Exception):
                request.future.set_exception(result)
            else:
                request.future.set_result(result)

    if results:
        # RuntimeError: the loop has ended, and with it all that waited.
        with suppress(RuntimeError):
            results[0][0].future.get_loop().call_soon_threadsafe(set_results)
