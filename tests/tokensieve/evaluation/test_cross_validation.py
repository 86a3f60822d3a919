from __future__ import annotations

import math

import numpy as np
import pytest

from tokensieve.evaluation.cross_validation import estimate


def test_the_interval_is_the_corrected_one() -> None:
    values = [0.9, 0.92, 0.88, 0.94, 0.86]
    found = estimate(values, folds=5)
    # By hand: t(0.975, 4) = 2.7764, and the variance counts 1/5 + 1/4 times instead of 1/5.
    half = 2.7764451 * math.sqrt(np.var(values, ddof=1) * (1 / 5 + 1 / 4))
    assert found.mean == pytest.approx(0.9)
    assert found.spread == pytest.approx(np.std(values, ddof=1))
    assert (found.low, found.high) == pytest.approx((0.9 - half, 0.9 + half), abs=1e-6)


def test_more_seeds_narrow_the_interval_only_up_to_the_shared_texts() -> None:
    values = [-0.01, 0.01, 0.0, 0.02, -0.02]
    widths = [(e := estimate(values * seeds, 5)).high - e.low for seeds in (1, 4, 400)]
    assert widths[0] > widths[1] > widths[2] > 2 * 1.96 * np.std(values) * math.sqrt(1 / 4) * 0.99


@pytest.mark.parametrize(
    ("values", "measurable"),
    [([0.1, 0.1, 0.11], True), ([-0.1, -0.1, -0.11], True), ([0.1, -0.1, 0.05], False), ([0.0] * 3, False)],
)
def test_a_difference_is_measurable_if_zero_is_outside(values: list[float], measurable: bool) -> None:
    assert estimate(values, 3).is_measurable is measurable


def test_the_interval_of_equal_settings_contains_zero_as_often_as_it_says() -> None:
    # Folds whose figures are correlated by 1 / folds, as Nadeau and Bengio assume.
    random, folds, hits, rounds = np.random.default_rng(0), 5, 0, 2000
    for _ in range(rounds):
        shared = random.normal() * math.sqrt(1 / folds)
        values = shared + random.normal(size=folds) * math.sqrt(1 - 1 / folds)
        hits += not estimate(values.tolist(), folds).is_measurable
    assert 0.93 <= hits / rounds <= 0.97
