from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from tokensieve import bars, progress
from tokensieve.bars import Bar


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Return a list whose only element is the time, in seconds."""
    now = [100.0]
    monkeypatch.setattr(bars, "time", SimpleNamespace(monotonic=lambda: now[0]))
    yield now
    assert progress.open_bars == []


def test_a_bar_counts_without_a_terminal_and_says_how_long_it_takes(clock: list[float]) -> None:
    with Bar(name="scoring weights", unit="text", total=1200) as bar:
        assert bar.disable
        assert progress.open_bars == [bar]
        assert bar.state() == "scoring weights, 0 of 1,200 texts"
        clock[0] += 25.0
        bar.update(300)
        assert bar.state() == "scoring weights, 300 of 1,200 texts, 12/s, about 75 s left"


def test_a_bar_of_items_counts_each_that_is_finished(clock: list[float]) -> None:
    states = []
    for _ in Bar("abcd", "timing", "turn"):
        states.append(progress.open_bars[0].state())
        clock[0] += 2.0
    assert states[0] == "timing, 0 of 4 turns"
    assert states[3] == "timing, 3 of 4 turns, 0.5/s, about 2 s left"


def test_a_bar_without_a_total_has_no_estimate(clock: list[float]) -> None:
    with Bar(name="tokenizing", unit="text") as bar:
        clock[0] += 2.0
        bar.update(5000)
        assert bar.state() == "tokenizing, 5,000 texts, 2,500/s"


def test_the_estimate_does_not_grow_during_a_long_item(clock: list[float]) -> None:
    with Bar(name="cross-fitting", unit="model", total=4) as bar:
        clock[0] += 100.0
        bar.update()
        clock[0] += 60.0
        assert bar.state() == "cross-fitting, 1 of 4 models, 0.01/s, about 240 s left"
        clock[0] += 60.0  # this model takes longer than the first
        assert bar.state() == "cross-fitting, 1 of 4 models, 0.01/s, about 200 s left"


def test_the_estimate_of_an_epoch_names_the_epoch(clock: list[float]) -> None:
    with Bar(name="epoch 1 of 10", unit="step", total=38, left_in="this epoch") as bar:
        clock[0] += 16.0
        bar.update(32)
        assert bar.state() == "epoch 1 of 10, 32 of 38 steps, 2/s, about 3 s left in this epoch"


def test_a_last_item_that_takes_longer_than_the_others_has_no_estimate(clock: list[float]) -> None:
    with Bar(name="cross-fitting", unit="model", total=4) as bar:
        clock[0] += 210.0
        bar.update(3)
        clock[0] += 80.0
        assert bar.state() == "cross-fitting, 3 of 4 models, 0.014/s"


@pytest.mark.usefixtures("clock")
def test_a_bar_ends_with_an_error_too() -> None:
    with pytest.raises(RuntimeError, match="stop"), Bar(name="building", unit="variant"):
        raise RuntimeError("stop")
