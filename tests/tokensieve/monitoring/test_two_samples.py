"""The two-sample tests: against references, and properties for all samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tokensieve.monitoring.two_samples import (
    domain_classifier,
    holm,
    label_shift,
    mean_discrepancy,
    rank_difference,
    share_difference,
)


def normal(texts: int, shift: float, seed: int, width: int = 8) -> np.ndarray:
    states = np.random.default_rng(seed).normal(size=(texts, width))
    states[:, 0] += shift
    return states


def test_domain_scores_are_those_of_regressions_without_the_text() -> None:
    reference, window = normal(30, 0, 0, 3), normal(12, 1, 1, 3)
    _, scores = domain_classifier(reference, window, 0)
    states = np.concatenate([reference, window])
    scaled = (states - states.mean(0)) / states.std(0)
    target = np.repeat([0.0, 1.0], [30, 12])
    penalty = 0.1 * (np.linalg.svd(scaled, compute_uv=False) ** 2).mean()
    for left_out in (0, 17, 41):
        kept = np.arange(len(states)) != left_out
        design = np.column_stack([np.ones(kept.sum()), scaled[kept]])
        ridge = np.diag([0.0, *[penalty] * 3])
        weights = np.linalg.solve(design.T @ design + ridge, design.T @ target[kept])
        assert scores[left_out] == pytest.approx(weights @ [1.0, *scaled[left_out]])


def test_domain_classifier_finds_a_shift_and_nothing_without_one() -> None:
    same, _ = domain_classifier(normal(200, 0, 0), normal(100, 0, 1), 0)
    other, scores = domain_classifier(normal(200, 0, 0), normal(100, 1.5, 1), 0)
    assert same.p > 0.05
    assert other.p == pytest.approx(0.001)
    assert other.effect > 0.75
    assert scores[200:].mean() > scores[:200].mean()


def test_p_values_are_uniform_without_a_difference() -> None:
    p = [domain_classifier(normal(60, 0, i), normal(30, 0, 1000 + i), i)[0].p for i in range(60)]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    p = [mean_discrepancy(normal(60, 0, i), normal(30, 0, 1000 + i), i).p for i in range(60)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_mean_discrepancy_is_that_of_its_definition() -> None:
    reference, window = normal(20, 0, 0), normal(10, 2, 1)
    states = np.concatenate([reference, window])
    distances = ((states[:, None] - states) ** 2).sum(2)
    kernel = np.exp(-distances / np.median(distances[np.triu_indices(30, 1)]))
    expected = kernel[:20, :20].mean() + kernel[20:, 20:].mean() - 2 * kernel[:20, 20:].mean()
    found = mean_discrepancy(reference, window, 0)
    assert found.effect == pytest.approx(expected, rel=1e-4)
    assert found.p <= 0.01


def test_label_shift_agrees_with_the_chi_square_test_for_many_texts() -> None:
    generator = np.random.default_rng(0)
    reference, window = generator.integers(0, 4, 2000), generator.choice(4, 1000, p=[0.28, 0.24, 0.24, 0.24])
    table = [np.bincount(labels, minlength=4) for labels in (reference, window)]
    expected = stats.chi2_contingency(table, correction=False).pvalue
    assert label_shift(reference, window, 4, 0).p == pytest.approx(expected, abs=0.03)


def test_label_shift_has_no_effect_for_equal_shares() -> None:
    labels = np.tile(np.arange(5), 100)
    found = label_shift(labels, labels, 5, 0)
    assert found.p == 1.0
    assert found.effect == pytest.approx(0)


def test_shares_and_ranks_have_the_windows_direction() -> None:
    low, high = np.repeat([True, False], [5, 95]), np.repeat([True, False], [30, 70])
    assert share_difference(low, high).effect == pytest.approx(0.25)
    assert share_difference(low, high).p < 0.001
    numbers = np.arange(50.0)
    assert rank_difference(numbers, numbers + 100).effect == pytest.approx(0.5)
    assert rank_difference(numbers, numbers).effect == pytest.approx(0)
    assert rank_difference(np.zeros(40), np.zeros(40)).p == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_raises_no_p_value_less_than_the_next(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    order = np.argsort(p_values, kind="stable")
    assert all(0 <= p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    assert adjusted[order[0]] == min(1.0, len(p_values) * p_values[order[0]])
    assert sorted(adjusted) == [adjusted[place] for place in order]


@given(st.integers(0, 10_000))
def test_the_same_seed_gives_the_same_result(seed: int) -> None:
    samples = normal(12, 0, 0, 2), normal(6, 1, 1, 2)
    assert domain_classifier(*samples, seed)[0] == domain_classifier(*samples, seed)[0]
