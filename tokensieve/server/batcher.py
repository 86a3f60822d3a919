"""Texts that wait at the same time are computed together; a lone one is computed at once.

A worker that is free takes its share of the texts that wait, the longest waiting first and with each those of the same number of
tokens, up to a budget: nothing is padded, and nobody waits for a batch to fill. All that it took is answered at once, since a thread
that is woken interrupts one that computes. Large requests wait in a lane of their own, which gets every fourth turn while small ones
wait too.

Where one client asks at a time, its short text is computed on the thread that answers: to wake a worker and to be woken by it takes
about half a millisecond, a tenth to a fifth of the whole.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tokensieve.inference.load import Model

LARGE_EVERY = 4
TOGETHER = 8  # texts after which a worker takes no further group: with more, others wait long to be told, and no more are answered
LONE = 48  # tokens of a text that may be computed on the thread that answers, which meanwhile hears nobody: some milliseconds
QUIET = 0.02  # seconds without a request, after which a client counts as the only one

Logits = npt.NDArray[np.float32]


class QueueFull(Exception):  # noqa: N818 - a state of the queue that clients are told of, not a fault
    """The queue holds as many texts as it may."""


@dataclass
class _QueuedRequest:
    """The texts of one request. Its counts change under the batcher's lock."""

    model: Model
    logits: Logits
    missing: int
    finish: Callable[[Logits], Any]
    future: asyncio.Future[Any]


@dataclass(frozen=True)
class _QueuedText:
    job: _QueuedRequest
    row: int
    ids: Sequence[int]


Key = tuple[int, int]  # identity of the model, tokens


@dataclass
class _Queue:
    """Waiting texts by key, the key whose turn is next first."""

    waiting: OrderedDict[Key, deque[_QueuedText]] = field(default_factory=OrderedDict)

    def add(self, item: _QueuedText) -> None:
        self.waiting.setdefault((id(item.job.model), len(item.ids)), deque()).append(item)

    def remove(self, job: _QueuedRequest) -> int:
        """Remove the texts of a request and return how many there were."""
        removed = 0
        for key, items in list(self.waiting.items()):
            kept = deque(item for item in items if item.job is not job)
            removed += len(items) - len(kept)
            if kept:
                self.waiting[key] = kept
            else:
                del self.waiting[key]
        return removed

    def take(self, budget: int, share: int) -> list[list[_QueuedText]]:
        """Groups of the same key, of at most `budget` tokens together (a text may have more) and `share` texts each, until they hold as
        many together, or `TOGETHER`."""
        groups: list[list[_QueuedText]] = []
        left = min(share, TOGETHER)
        while self.waiting and left > 0 and (budget >= next(iter(self.waiting))[1] or not groups):
            key, items = self.waiting.popitem(last=False)
            group = [items.popleft() for _ in range(min(len(items), share, max(1, budget // key[1])))]
            groups.append(group)
            left, budget = left - len(group), budget - len(group) * key[1]
            if items:
                # Behind all others, so that a length that is asked for all the time does not keep them waiting.
                self.waiting[key] = items
        return groups


class Batcher:
    """`workers` threads that compute; at most `queue` texts wait, of which one takes at most `budget` tokens (one text may have more)."""

    def __init__(
        self, workers: int, budget: int, queue: int, observe: Callable[[int], None] = lambda texts: None
    ) -> None:
        self.waiting = 0
        self._budget, self._queue, self._observe = budget, queue, observe
        self._changed = threading.Condition()
        self._small, self._large = _Queue(), _Queue()
        self._turn, self._closed, self._expected = 0, False, 0
        self._asked, self._client, self._answered = 0, "", -QUIET
        self._threads = [
            threading.Thread(target=self._work, name=f"compute-{i}", daemon=True) for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    async def compute(
        self, model: Model, ids: Sequence[Sequence[int]], finish: Callable[[Logits], Any], client: str = ""
    ) -> Any:
        """What `finish` makes of the logits [texts, classes] of the texts `ids`; all of one request, which the connection `client`
        makes. Called on one event loop.

        Raises:
            Full: more texts would wait than may. Anything that `finish` or the graph raises.
        """
        if not ids:
            return finish(np.empty((0, model.classes), dtype=np.float32))
        lone = len(ids) == 1 and len(ids[0]) <= LONE and self._alone(client)
        self._asked, self._client = self._asked + 1, client
        try:
            if not lone:
                return await self._queued(model, ids, finish)
            self._observe(1)
            return finish(model.run(ids))
        finally:
            self._asked, self._answered = self._asked - 1, time.monotonic()

    @contextmanager
    def expecting(self, texts: int) -> Iterator[None]:
        """Within it, so many texts that are still to be tokenized take room in the queue. Raises Full: as `compute`."""
        self._refuse_if_full(texts)
        self._expected += texts
        try:
            yield
        finally:
            self._expected -= texts

    def _refuse_if_full(self, texts: int) -> None:
        # One request may always wait alone, however large: what it may hold is limited elsewhere.
        before = self.waiting + self._expected
        if before and before + texts > self._queue:
            raise QueueFull

    def _alone(self, client: str) -> bool:
        """Whether `client` seems to be the only one: nobody else is being answered, and the last to be was the same, or long ago.

        Two that ask in turns would otherwise both be computed on this thread, one after the other.
        """
        return (
            bool(client)
            and not self._asked
            and (client == self._client or time.monotonic() - self._answered > QUIET)
        )

    async def _queued(
        self, model: Model, ids: Sequence[Sequence[int]], finish: Callable[[Logits], Any]
    ) -> Any:
        loop = asyncio.get_running_loop()
        logits = np.empty((len(ids), model.classes), dtype=np.float32)
        job = _QueuedRequest(model, logits, len(ids), finish, loop.create_future())
        with self._changed:
            self._refuse_if_full(len(ids))
            self.waiting += len(ids)
            lane = self._small if sum(map(len, ids)) <= self._budget else self._large
            for row, text in enumerate(ids):
                lane.add(_QueuedText(job, row, text))
            self._changed.notify(len(ids))
        try:
            return await job.future
        except asyncio.CancelledError:
            self._forget(job)
            raise

    def _forget(self, job: _QueuedRequest) -> None:
        """Take the texts of a request that was given up out of the queue, where they would keep others out."""
        with self._changed:
            for lane in (self._small, self._large):
                self.waiting -= lane.remove(job)

    def close(self, seconds: float = 5.0) -> None:
        """End the workers after what they compute now. What waits is dropped: nobody is left to be answered."""
        with self._changed:
            self._closed = True
            for lane in (self._small, self._large):
                lane.waiting.clear()
            self.waiting = 0
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(seconds)

    def _work(self) -> None:
        while self._turned():
            pass

    def _turned(self) -> bool:
        """Take, compute and answer once; whether there was anything, else the batcher is closed. While it waits, it holds no model."""
        groups = self._next()
        # All are computed before any is answered: threads that compute and threads that hold the interpreter then seldom meet.
        _tell(self._answers([(group, _computed(group)) for group in groups]))
        return bool(groups)

    def _next(self) -> list[list[_QueuedText]]:
        """The next groups, waited for; empty once the batcher is closed."""
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
                # Nobody waits for some any more: the request was given up, or failed.
                wanted = [[item for item in group if not item.job.future.done()] for group in taken]
                if groups := [group for group in wanted if group]:
                    return groups

    def _answers(
        self, computed: list[tuple[list[_QueuedText], Logits | Exception]]
    ) -> list[tuple[_QueuedRequest, Any]]:
        """The requests that now have all their logits, each with its answer, or with what went wrong."""
        finished: list[_QueuedRequest] = []
        failed: list[tuple[_QueuedRequest, Any]] = []
        for group, found in computed:
            if isinstance(found, Exception):
                failed += [(item.job, found) for item in group]
                continue
            self._observe(len(group))
            with self._changed:
                for item, row in zip(group, found, strict=True):
                    item.job.logits[item.row] = row
                    item.job.missing -= 1
                    if not item.job.missing and not item.job.future.done():
                        finished.append(item.job)
        return failed + [(job, _finished(job)) for job in finished]


def _computed(group: list[_QueuedText]) -> Logits | Exception:
    model = group[0].job.model
    try:
        found = model.run([item.ids for item in group])
        if found.shape != (len(group), model.classes):
            raise ValueError(
                f"the graph gives logits {list(found.shape)} for {len(group)} texts of {model.classes} classes"
            )
        return found
    except Exception as error:
        return error


def _finished(job: _QueuedRequest) -> Any:
    try:
        return job.finish(job.logits)
    except Exception as error:
        return error


def _tell(results: list[tuple[_QueuedRequest, Any]]) -> None:
    """Settle the futures of these requests, all on one loop, with their answers or what went wrong."""

    def settle() -> None:
        for job, result in results:
            if job.future.done():
                continue
            if isinstance(result, Exception):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)

    if results:
        # The loop may have ended, and with it whoever waited.
        with suppress(RuntimeError):
            results[0][0].future.get_loop().call_soon_threadsafe(settle)
