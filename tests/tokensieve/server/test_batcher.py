from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokensieve.server.batcher import LARGE_EVERY, MAX_INLINE_TOKENS, Batcher, QueueFull
from tokensieve.server.text_queue import MAX_TEXTS

CLASSES = 3


class Model:
    """A model whose logits are the first token and the length of each text. It records its runs."""

    def __init__(self) -> None:
        self.classes = CLASSES
        self.runs: list[list[list[int]]] = []
        self.threads: list[threading.Thread] = []
        self.open = threading.Event()
        self.open.set()
        self.busy = threading.Semaphore(0)

    def run(self, ids: list[list[int]]) -> Any:
        self.busy.release()
        assert self.open.wait(20)
        self.runs.append(ids)
        self.threads.append(threading.current_thread())
        if ids[0][0] == -1:
            raise ValueError("no such token")
        return np.array([[text[0], len(text), 0] for text in ids], dtype=np.float32)


@pytest.fixture
def batcher() -> Iterator[Callable[..., Batcher]]:
    made: list[Batcher] = []

    def make(workers: int = 1, budget: int = 12, queue: int = 100) -> Batcher:
        made.append(Batcher(workers, budget, queue))
        return made[-1]

    yield make
    for one in made:
        one.close()


def texts(*lengths: int, first: int = 0) -> list[list[int]]:
    return [[first + i] + [0] * (length - 1) for i, length in enumerate(lengths)]


async def held(batcher: Batcher, model: Model) -> asyncio.Task[Any]:
    """Return a request that keeps the single worker busy until the model opens."""
    model.open.clear()
    task = asyncio.create_task(batcher.compute(model, texts(1)))  # type: ignore[arg-type]
    await asyncio.to_thread(model.busy.acquire)
    return task


@settings(max_examples=30, deadline=None)
@given(
    requests=st.lists(st.lists(st.integers(1, 8), max_size=6), min_size=1, max_size=8),
    workers=st.integers(1, 3),
    budget=st.integers(1, 20),
)
def test_every_request_gets_the_logits_of_its_texts_in_order(
    requests: list[list[int]], workers: int, budget: int
) -> None:
    batcher, model = Batcher(workers, budget, 1000), Model()

    async def all_of_them() -> list[Any]:
        asked = (batcher.compute(model, texts(*lengths, first=100 * i)) for i, lengths in enumerate(requests))
        return await asyncio.gather(*asked)

    try:
        found = asyncio.run(all_of_them())
    finally:
        batcher.close()
    for i, (lengths, logits) in enumerate(zip(requests, found, strict=True)):
        expected = np.array(
            [[100 * i + k, length, 0] for k, length in enumerate(lengths)], dtype=np.float32
        ).reshape(-1, CLASSES)
        np.testing.assert_array_equal(logits, expected)
    for run in model.runs:
        assert len({len(text) for text in run}) == 1
        assert sum(map(len, run)) <= budget or len(run) == 1
    assert batcher.waiting == 0


def test_queued_texts_of_equal_length_run_together(batcher: Callable[..., Batcher]) -> None:
    one, model = batcher(), Model()

    async def main() -> None:
        first = await held(one, model)
        rest = [asyncio.create_task(one.compute(model, texts(n))) for n in (4, 5, 4, 4, 4, 5)]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        model.open.set()
        await asyncio.gather(first, *rest)

    asyncio.run(main())
    # Three texts of 4 tokens fit the budget of 12. The fourth comes after the texts of 5 tokens.
    assert [(len(run), len(run[0])) for run in model.runs] == [(1, 1), (3, 4), (2, 5), (1, 4)]


def test_worker_takes_its_share_and_responds_at_once(batcher: Callable[..., Batcher]) -> None:
    one, model = batcher(budget=1000), Model()

    class Halting(Model):
        def run(self, ids: list[list[int]]) -> Any:
            found = super().run(ids)
            if len(self.runs) == MAX_TEXTS:
                self.open.clear()
            return found

    halting = Halting()

    async def main() -> tuple[int, int]:
        first = await held(one, model)
        lengths = range(1, MAX_TEXTS + 3)
        rest = [asyncio.create_task(one.compute(halting, texts(n))) for n in lengths]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        model.open.set()
        await first
        done, waiting = await asyncio.wait(rest, return_when=asyncio.FIRST_COMPLETED)
        halting.open.set()
        await asyncio.gather(*rest)
        return len(done), len(waiting)

    assert asyncio.run(main()) == (MAX_TEXTS, 2)


def test_texts_of_one_length_are_divided_among_workers(batcher: Callable[..., Batcher]) -> None:
    two, model = batcher(workers=2, budget=1000), Model()

    async def main() -> None:
        model.open.clear()
        asked = asyncio.create_task(two.compute(model, texts(*[3] * 20)))  # type: ignore[arg-type]
        for _ in range(2):
            assert await asyncio.to_thread(model.busy.acquire, timeout=10)
        model.open.set()
        await asked

    asyncio.run(main())
    assert max(map(len, model.runs)) == 10
    assert sum(map(len, model.runs)) == 20


def test_workers_survive_wrong_logits_and_keep_no_model(
    batcher: Callable[..., Batcher],
) -> None:
    one, model = batcher(budget=100), Model()

    class Short(Model):
        def run(self, ids: list[list[int]]) -> Any:
            return super().run(ids)[:1]

    short = Short()
    with pytest.raises(ValueError, match=r"gives logits \[1, 3\] for 2 texts of 3 classes"):
        asyncio.run(one.compute(short, texts(2, 2)))  # type: ignore[arg-type]
    assert len(asyncio.run(one.compute(model, texts(2, 2)))) == 2  # type: ignore[arg-type]
    left = weakref.ref(model)
    del model
    deadline = time.monotonic() + 10
    while left() and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert left() is None


def test_request_cancelled_during_computation_does_not_affect_later_ones(
    batcher: Callable[..., Batcher],
) -> None:
    one, model = batcher(), Model()

    async def main() -> Any:
        model.open.clear()
        cancelled = asyncio.create_task(one.compute(model, texts(2)))  # type: ignore[arg-type]
        await asyncio.to_thread(model.busy.acquire)
        cancelled.cancel()
        await asyncio.sleep(0)
        model.open.set()
        return await one.compute(model, texts(3))  # type: ignore[arg-type]

    assert asyncio.run(main()).tolist() == [[0, 3, 0]]
    assert len(model.runs) == 2


def test_expected_texts_count_in_the_queue(batcher: Callable[..., Batcher]) -> None:
    one = batcher(queue=3)
    with one.expecting(5):  # a single request may have any number of texts
        with pytest.raises(QueueFull), one.expecting(1):
            raise AssertionError
        with pytest.raises(QueueFull):
            asyncio.run(one.compute(Model(), texts(1)))  # type: ignore[arg-type]
    assert len(asyncio.run(one.compute(Model(), texts(1)))) == 1  # type: ignore[arg-type]


def test_large_request_gets_turns_without_delaying_small_ones(
    batcher: Callable[..., Batcher],
) -> None:
    one, model = batcher(), Model()

    async def main() -> None:
        first = await held(one, model)
        large = asyncio.create_task(one.compute(model, texts(7, 8, 9)))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        small = [asyncio.create_task(one.compute(model, texts(12))) for _ in range(6)]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        model.open.set()
        await asyncio.gather(first, large, *small)

    asyncio.run(main())
    # The turn of the first request counts, too.
    turns = [*[12] * (LARGE_EVERY - 2), 7, *[12] * (LARGE_EVERY - 1), 8, 12, 9]
    assert [len(run[0]) for run in model.runs][1:] == turns


def test_requests_beyond_the_queue_limit_are_refused(batcher: Callable[..., Batcher]) -> None:
    one, model = batcher(queue=3), Model()

    async def main() -> None:
        first = await held(one, model)
        # A single request may wait, however large it is.
        waiting = asyncio.create_task(one.compute(model, texts(2, 2, 2, 2)))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await one.compute(model, texts(1))  # type: ignore[arg-type]
        model.open.set()
        assert (len(await first), len(await waiting)) == (1, 4)

    asyncio.run(main())


def test_failure_reaches_only_its_own_requests(batcher: Callable[..., Batcher]) -> None:
    one, model = batcher(budget=1), Model()

    async def main() -> list[Any]:
        asked = [one.compute(model, ids) for ids in (texts(2), [[-1, 0, 0]], texts(4))]  # type: ignore[arg-type]
        return await asyncio.gather(*asked, return_exceptions=True)

    first, failed, third = asyncio.run(main())
    assert (len(first), len(third)) == (1, 1)
    assert isinstance(failed, ValueError)


def test_cancelled_requests_are_not_computed(batcher: Callable[..., Batcher]) -> None:
    one, model = batcher(), Model()

    async def main() -> None:
        first = await held(one, model)
        given_up = asyncio.create_task(one.compute(model, texts(9)))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.sleep(0)
        model.open.set()
        await first
        await one.compute(model, texts(3))  # type: ignore[arg-type]

    asyncio.run(main())
    assert [len(run[0]) for run in model.runs] == [1, 3]


def test_two_workers_compute_at_the_same_time(batcher: Callable[..., Batcher]) -> None:
    two, model = batcher(workers=2), Model()

    async def main() -> None:
        model.open.clear()
        asked = [asyncio.create_task(two.compute(model, texts(n))) for n in (1, 2)]  # type: ignore[arg-type]
        for _ in range(2):
            assert await asyncio.to_thread(model.busy.acquire, timeout=10)
        model.open.set()
        await asyncio.gather(*asked)

    asyncio.run(main())


def threads_of(batcher: Batcher, requests: list[tuple[str, int]], pause: float = 0.0) -> list[bool]:
    """Return for each request, a client and the tokens of its text, whether it ran on the event
    loop.
    """

    async def ask() -> list[bool]:
        here = []
        for client, tokens in requests:
            model = Model()
            await batcher.compute(model, texts(tokens), client)  # type: ignore[arg-type]
            here.append(model.threads == [threading.current_thread()])
            await asyncio.sleep(pause)
        return here

    return asyncio.run(ask())


def test_short_texts_of_a_single_client_run_on_the_event_loop(
    batcher: Callable[..., Batcher],
) -> None:
    assert threads_of(
        batcher(budget=100), [("a", 3), ("a", MAX_INLINE_TOKENS), ("a", MAX_INLINE_TOKENS + 1), ("a", 3)]
    ) == [
        True,
        True,
        False,
        True,
    ]


def test_clients_that_take_turns_use_workers(
    batcher: Callable[..., Batcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokensieve.server.batcher.QUIET", 10.0)
    turns = [("a", 3), ("b", 3), ("a", 3), ("b", 3), ("b", 3), ("", 3)]
    assert threads_of(batcher(), turns) == [True, False, False, False, True, False]
    monkeypatch.setattr("tokensieve.server.batcher.QUIET", 0.01)
    assert threads_of(batcher(), turns[:4], pause=0.02) == [True] * 4


def test_concurrent_requests_use_worker_threads(batcher: Callable[..., Batcher]) -> None:
    one, model = batcher(workers=2), Model()

    other = Model()

    async def both() -> None:
        first = await held(one, model)
        await one.compute(other, texts(2), "a")  # type: ignore[arg-type]
        model.open.set()
        await first

    asyncio.run(both())
    assert other.threads[0].name.startswith("compute-")


def test_failure_on_the_event_loop_does_not_affect_later_texts(batcher: Callable[..., Batcher]) -> None:
    one, model = batcher(), Model()

    async def ask(first: int) -> Any:
        return await one.compute(model, texts(1, first=first), "a")  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="no such token"):
        asyncio.run(ask(-1))
    assert asyncio.run(ask(7)).tolist() == [[7, 1, 0]]
    assert len(model.runs) == 2
