from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tokensieve.race import Entrant, ranked, times
from tokensieve.settings import Export

GOOD = Entrant("int8", 2.0, 23.0, 0.5, 0.996, 0.898)


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ({}, []),
        ({"agreement": 0.994}, ["agreement"]),
        ({"accuracy": 0.8969}, ["loss"]),
        ({"accuracy": 0.897}, []),
        ({"accuracy": 0.95}, []),
        ({"largest_difference": 9.0}, []),
        ({"variant": "fused"}, ["tolerance"]),
        ({"variant": "fused", "largest_difference": 1e-4}, []),
        ({"variant": "fp32", "largest_difference": float("nan")}, ["tolerance"]),
        ({"agreement": float("nan"), "accuracy": float("nan")}, ["agreement", "loss"]),
    ],
)
def test_what_breaks_a_limit_says_which(change: dict[str, Any], faults: list[str]) -> None:
    assert replace(GOOD, **change).faults(Export(), 0.9) == faults


def test_the_fastest_goes_first_and_ties_go_to_the_more_exact() -> None:
    exact, close, near, fast = (
        replace(GOOD, variant=name, milliseconds=milliseconds, largest_difference=difference)
        for name, milliseconds, difference in [("fp32", 5.0, 0.0), ("fused", 4.9, 0.001), ("mixed", 2.08, 0.2), ("int8", 2.0, 0.9)]
    )
    assert ranked([exact, close, near, fast]) == [near, fast, exact, close]
    assert ranked([replace(near, milliseconds=2.2), fast])[0] is fast
    assert ranked([]) == []


class Slow:
    """Takes what its clock says."""

    def __init__(self, clock: list[float], seconds: list[float]) -> None:
        self.clock, self.seconds, self.lengths = clock, iter(seconds), []  # type: ignore[var-annotated]

    def run(self, ids: Any) -> None:
        self.lengths.append(ids.shape)
        self.clock[0] += next(self.seconds)


def test_a_time_is_the_median_text_of_the_best_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("tokensieve.race.time.perf_counter", lambda: clock[0])
    engines = {"a": Slow(clock, [0.001, 0.009, 0.005, 0.004, 0.003, 0.030]), "b": Slow(clock, [0.002] * 6)}
    found = times(engines, [[1], [1, 2], [1, 2, 3]], rounds=2)  # type: ignore[arg-type]
    assert found == pytest.approx({"a": 3.0, "b": 2.0})
    assert engines["a"].lengths == [(1, 1), (1, 2), (1, 3)] * 2
