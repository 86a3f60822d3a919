from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tokensieve.evaluation.intervals import lower_bound
from tokensieve.evaluation.report import Comparison
from tokensieve.export.choose_variant import VariantResult, rank, times, violations
from tokensieve.settings import Export

GOOD = VariantResult("int8", 2.0, 23.0, 0.5)
SAME = Comparison(
    texts=3850,
    largest_difference=0.8,
    agreement=0.99,
    confident_texts=3000,
    confident_agreement=0.9995,
    proven_agreement=0.998,
    accuracy_drop=0.001,
    accuracy_drop_chance=0.3,
    coverage_change=-0.002,
    coverage_change_chance=0.2,
    calibration_rise=0.001,
)


@pytest.mark.parametrize(
    ("variant", "change", "expected"),
    [
        ("int8", {}, []),
        ("int8", {"confident_agreement": 0.9989}, ["min_confident_agreement"]),
        ("int8", {"confident_agreement": 1.0, "proven_agreement": 0.989}, ["min_proven_agreement"]),
        ("int8", {"accuracy_drop": 0.004}, []),
        ("int8", {"accuracy_drop": 0.004, "accuracy_drop_chance": 0.04}, ["max_accuracy_drop"]),
        ("int8", {"accuracy_drop": 0.003, "accuracy_drop_chance": 0.001}, []),
        ("int8", {"coverage_change": -0.02, "coverage_change_chance": 0.04}, ["max_coverage_change"]),
        ("int8", {"coverage_change": 0.02, "coverage_change_chance": 0.04}, ["max_coverage_change"]),
        ("int8", {"coverage_change": -0.02}, []),
        ("int8", {"calibration_rise": 0.02}, ["max_calibration_rise"]),
        ("int8", {"calibration_rise": -0.02}, []),
        ("int8", {"largest_difference": float("nan")}, ["tolerance"]),
        ("fused", {"largest_difference": 1e-4, "confident_agreement": 0.5, "proven_agreement": 0.0}, []),
        ("fused", {"largest_difference": 0.002}, ["tolerance"]),
        ("fp32", {"largest_difference": float("nan")}, ["tolerance"]),
    ],
)
def test_a_violation_names_its_limit(variant: str, change: dict[str, Any], expected: list[str]) -> None:
    assert list(violations(variant, replace(SAME, **change), Export())) == expected


def test_too_few_texts_are_refused_with_the_number_needed() -> None:
    few = replace(SAME, confident_texts=200, confident_agreement=1.0, proven_agreement=lower_bound(200, 200))
    (reason,) = violations("int8", few, Export()).values()
    assert reason == (
        "200 confident answers show an agreement of at least 98.5% (95% confidence); 99.0% needs 299 or more"
    )
    many = replace(few, confident_texts=750, confident_agreement=0.9985, proven_agreement=0.988)
    assert violations("int8", many, Export())["min_proven_agreement"] == (
        "750 confident answers show an agreement of at least 98.8% (95% confidence)"
    )
    assert violations("int8", few, Export(min_proven_agreement=0.0)) == {}
    assert violations("int8", few, Export(min_confident_agreement=0.95)) == {}
    enough = replace(few, confident_texts=299, proven_agreement=lower_bound(299, 299))
    assert violations("int8", enough, Export()) == {}


def test_the_fastest_goes_first_and_ties_go_to_the_more_exact() -> None:
    exact, close, near, fast = (
        replace(GOOD, variant=name, milliseconds=milliseconds, largest_difference=difference)
        for name, milliseconds, difference in [
            ("fp32", 5.0, 0.0),
            ("fused", 4.9, 0.001),
            ("mixed", 2.08, 0.2),
            ("int8", 2.0, 0.9),
        ]
    )
    assert rank([exact, close, near, fast]) == [near, fast, exact, close]
    assert rank([replace(near, milliseconds=2.2), fast])[0] is fast
    assert rank([]) == []


class Slow:
    """An engine whose runs take a given time."""

    def __init__(self, clock: list[float], seconds: list[float]) -> None:
        self.clock, self.seconds, self.lengths = clock, iter(seconds), []  # type: ignore[var-annotated]

    def run(self, ids: Any) -> None:
        self.lengths.append(ids.shape)
        self.clock[0] += next(self.seconds)


def test_a_time_is_the_median_text_of_the_best_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("tokensieve.export.choose_variant.time.perf_counter", lambda: clock[0])
    engines = {"a": Slow(clock, [0.001, 0.009, 0.005, 0.004, 0.003, 0.030]), "b": Slow(clock, [0.002] * 6)}
    found = times(engines, [[1], [1, 2], [1, 2, 3]], rounds=2)  # type: ignore[arg-type]
    assert found == pytest.approx({"a": 3.0, "b": 2.0})
    assert engines["a"].lengths == [(1, 1), (1, 2), (1, 3)] * 2
