from __future__ import annotations

import math
from typing import Any

import pytest

from benchmarks.training import comparison


def record(
    method: str, accuracy: float, task: str = "a", seed: int = 0, cpu: float = 10.0, machine: str = "x"
) -> dict[str, Any]:
    return {
        "method": method,
        "accuracy": accuracy,
        "task": task,
        "seed": seed,
        "cpu_seconds": cpu,
        "wall_seconds": 1.0,
        "device": "cpu",
        "machine": {"cpu": machine, "gpu": None, "threads": 1, "torch": "2"},
    }


def test_spread_is_that_of_a_sample() -> None:
    assert comparison.spread([0.8, 0.9]) == pytest.approx((0.85, 0.0707107))
    assert math.isnan(comparison.spread([0.8])[1])


def test_the_interval_of_a_mean_is_students() -> None:
    low, high = comparison.mean_interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert all(map(math.isnan, comparison.mean_interval([1.0])))


def test_ranks_are_places_with_ties_halved() -> None:
    records = [record(m, a, t) for t in "ab" for m, a in (("x", 0.9), ("y", 0.8), ("z", 0.8))]
    assert comparison.ranks(comparison.by_task(records), ["a", "b"]) == {"x": 1.0, "y": 2.5, "z": 2.5}


def test_a_method_without_a_task_or_a_seed_of_another_is_not_complete() -> None:
    records = [record(m, 0.9, t, seed=seed) for m in "xy" for t in "ab" for seed in (0, 1)]
    records += [record("one task", 1.0, "a", seed=seed) for seed in (0, 1)]
    records += [record("one seed", 1.0, t) for t in "ab"]
    assert comparison.complete(comparison.by_task(records), ["a", "b"]).keys() == {"x", "y"}
    assert comparison.complete({}, ["a"]) == {}


def test_costs_are_compared_on_the_same_task_seed_and_machine() -> None:
    records = [
        record("end_to_end", 0.9, "a", cpu=100),
        record("end_to_end", 0.9, "b", cpu=10),
        record("x", 0.9, "a", cpu=50),
        record("x", 0.9, "b", cpu=1.25),
        record("x", 0.9, "a", seed=1, cpu=9999),
        record("y", 0.9, "a", cpu=1, machine="other"),
    ]
    costs = comparison.relative_costs(comparison.by_task(records))
    assert costs == pytest.approx({"end_to_end": 1.0, "x": 0.25})


def test_differences_are_of_pairs() -> None:
    records = [record("x", 0.9), record("x", 0.7, seed=1), record("y", 0.8), record("y", 0.1, seed=2)]
    assert comparison.differences(comparison.by_task(records), "x", "y") == pytest.approx([0.1])


def test_methods_are_compared_by_score_where_there_is_one() -> None:
    records = [record("x", 0.5) | {"score": 0.9}, record("y", 0.6)]
    assert comparison.scores(records) == [0.9, 0.6]
    assert comparison.differences(comparison.by_task(records), "x", "y") == pytest.approx([0.3])
    assert comparison.ranks(comparison.by_task(records), ["a"]) == {"x": 1.0, "y": 2.0}


def test_the_sign_flip_test_against_counting() -> None:
    # Of the 8 signs of three equal gaps two are as far out.
    assert comparison.sign_flip([1, 1, 1]) == 0.25
    assert comparison.sign_flip([1, -1]) == 1.0
    assert comparison.sign_flip([0.01] * 20) < 0.001
    assert comparison.sign_flip([0.01, -0.01] * 10) > 0.9


def test_holm_multiplies_the_smallest_most_and_keeps_the_order() -> None:
    assert comparison.holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "c": 0.06, "b": 0.06}
    )
