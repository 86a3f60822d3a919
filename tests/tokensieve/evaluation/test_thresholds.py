from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng
from scipy.special import expit
from scipy.stats.mstats import hdquantiles
from sklearn.metrics import f1_score

from tests.tokensieve.evaluation.synthetic import several
from tokensieve.evaluation.thresholds import (
    confidence_threshold,
    label_thresholds,
    quantile,
    threshold_interval,
)


def test_the_quantile_is_scipys() -> None:
    values = np.sort(default_rng(0).random(40))
    assert quantile(values, 0.05) == pytest.approx(float(hdquantiles(values, [0.05])[0]))
    assert quantile(values, 0.0) == values[0]
    assert quantile(values[:1], 0.3) == pytest.approx(values[0])


@pytest.mark.parametrize("texts", [30, 300, 3000])
def test_the_threshold_keeps_the_wanted_share_of_right_answers(texts: int) -> None:
    kept = []
    for seed in range(100):
        confidences = default_rng(seed).beta(6, 2, texts)
        found = confidence_threshold(confidences, np.ones(texts, bool), 0.95)
        kept.append((default_rng(1000).beta(6, 2, 20_000) >= found).mean())
    assert np.mean(kept) == pytest.approx(0.95, abs=0.015)


def test_wrong_answers_do_not_count_and_without_right_ones_all_are_confident() -> None:
    confidences = np.array([0.9, 0.2, 0.7])
    right = np.array([True, False, True])
    assert confidence_threshold(confidences, right, 1.0) == pytest.approx(0.7, abs=1e-6)
    assert confidence_threshold(confidences, np.zeros(3, bool), 0.9) == 0.0


def test_a_threshold_is_not_above_its_text_in_single_precision_either() -> None:
    for seed in range(50):
        confidences = default_rng(seed).random(5)
        assert np.float32(confidences.min()) >= confidence_threshold(confidences, np.ones(5, bool), 1.0)


def test_out_of_scope_texts_lower_the_threshold_if_they_are_rejected_all_the_same() -> None:
    draw = default_rng(0)
    inside, right = draw.uniform(0.6, 1.0, 400), np.ones(400, bool)
    outside = draw.uniform(0.1, 0.4, 50)
    plain, found = confidence_threshold(inside, right, 0.9), confidence_threshold(inside, right, 0.9, outside)
    assert plain > 0.6
    assert outside.max() < found < 0.41


def test_out_of_scope_texts_around_the_threshold_do_not_lower_it() -> None:
    draw = default_rng(0)
    inside, right = draw.uniform(0.6, 1.0, 400), np.ones(400, bool)
    plain = confidence_threshold(inside, right, 0.95)
    assert confidence_threshold(inside, right, 0.95, draw.uniform(0.6, 0.7, 50)) == plain
    assert confidence_threshold(inside, right, 0.95, np.empty(0)) == plain


@pytest.mark.parametrize("coverage", [0.8, 0.95])
@pytest.mark.parametrize("texts", [20, 50, 200])
@pytest.mark.parametrize("overlap", [2.0, 5.0, 9.0])
def test_out_of_scope_texts_help_or_change_nothing_on_average(
    coverage: float, texts: int, overlap: float
) -> None:
    """The worth on new texts: the share of correct predictions kept, minus the share of
    out-of-scope texts accepted.
    """
    gains = []
    inside, outside = default_rng(1).beta(9, 2, 20_000), default_rng(2).beta(overlap, 10, 20_000)
    for seed in range(100):
        draw = default_rng(seed + 3)
        confidences, right = draw.beta(9, 2, 150), np.ones(150, bool)
        plain = confidence_threshold(confidences, right, coverage)
        found = confidence_threshold(confidences, right, coverage, draw.beta(overlap, 10, texts))
        assert found <= plain
        gains.append(
            ((inside >= found) & (inside < plain)).mean() - ((outside >= found) & (outside < plain)).mean()
        )
    assert np.mean(gains) > -0.005
    assert np.quantile(gains, 0.05) > -0.05


def test_the_interval_narrows_with_the_texts() -> None:
    widths = []
    for texts in (30, 1000):
        confidences = default_rng(1).beta(6, 2, texts)
        low, high = threshold_interval(confidences, np.ones(texts, bool), 0.95)
        assert low <= confidence_threshold(confidences, np.ones(texts, bool), 0.95) <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3


def best_f1(chances, targets) -> float:  # type: ignore[no-untyped-def]
    cuts = [*np.unique(chances), 1.1]
    return max(f1_score(targets, chances >= cut, zero_division=0) for cut in cuts)


@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 3))
def test_no_other_threshold_has_a_better_f1(seed: int, texts: int, digits: int) -> None:
    logits, targets = several(texts, seed=seed)
    chances = expit(logits).round(digits).clip(0.01, 0.99)  # with ties
    thresholds = label_thresholds(chances, targets, min_texts=2)
    assert ((thresholds > 0) & (thresholds < 1)).all()
    for i, threshold in enumerate(thresholds):
        if targets[:, i].sum() >= 2:
            found = f1_score(targets[:, i], chances[:, i] >= threshold)
            assert found == pytest.approx(best_f1(chances[:, i], targets[:, i]))


def test_a_label_of_few_texts_gets_the_threshold_of_all() -> None:
    logits, targets = several(200, seed=3)
    targets[:, 3] = 0.0
    targets[:4, 3] = 1.0
    chances = expit(logits)
    thresholds = label_thresholds(chances, targets)
    micro = f1_score(targets.ravel(), chances.ravel() >= thresholds[3])
    assert micro == pytest.approx(best_f1(chances.ravel(), targets.ravel()))
    assert len(set(thresholds)) == 4
    assert label_thresholds(chances, np.zeros_like(targets)).tolist() == [0.5] * 4
