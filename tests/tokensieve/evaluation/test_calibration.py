from __future__ import annotations

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.special import softmax
from scipy.stats.mstats import hdquantiles

from tokensieve.evaluation.calibration import quantile, temperature, threshold, threshold_interval
from tokensieve.evaluation.metrics import calibration_error, loss, reliability


def drawn(texts: int, scale: float, seed: int = 0):  # type: ignore[no-untyped-def]
    """Logits, and targets drawn from their softmax: `scale` times too sure."""
    draw = default_rng(seed)
    logits = draw.normal(size=(texts, 8)) * 2.5
    chances = softmax(logits, axis=1)
    return logits * scale, (chances.cumsum(1) > draw.random((texts, 1))).argmax(1)


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_a_wrong_scale_is_found_on_many_texts(scale: float) -> None:
    assert temperature(*drawn(3000, scale)) == pytest.approx(scale, rel=0.1)


def test_on_few_texts_a_temperature_is_rarely_worse_than_none() -> None:
    logits, targets = drawn(20_000, 1.0, seed=99)
    plain = calibration_error(reliability(logits, targets))
    fitted = [temperature(*drawn(32, 1.0, seed)) for seed in range(60)]
    worse = [calibration_error(reliability(logits, targets, found)) - plain > 0.01 for found in fitted]
    assert np.mean(np.array(fitted) == 1.0) > 0.5
    assert np.mean(worse) <= 0.15


def test_the_temperature_of_several_labels_is_checked_alike() -> None:
    draw = default_rng(0)
    logits = draw.normal(size=(2000, 4)) * 2
    targets = (1 / (1 + np.exp(-logits)) > draw.random(logits.shape)).astype(float)
    assert temperature(logits * 3, targets) == pytest.approx(3, rel=0.1)
    assert loss(logits * 3, targets, temperature(logits * 3, targets)) < loss(logits * 3, targets)


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
        found = threshold(confidences, np.ones(texts, bool), 0.95)
        kept.append((default_rng(1000).beta(6, 2, 20_000) >= found).mean())
    assert np.mean(kept) == pytest.approx(0.95, abs=0.015)


def test_wrong_answers_do_not_count_and_without_right_ones_all_are_confident() -> None:
    confidences = np.array([0.9, 0.2, 0.7])
    right = np.array([True, False, True])
    assert threshold(confidences, right, 1.0) == pytest.approx(0.7, abs=1e-6)
    assert threshold(confidences, np.zeros(3, bool), 0.9) == 0.0


def test_a_threshold_lies_below_the_text_that_sets_it_in_single_precision_too() -> None:
    for seed in range(50):
        confidences = default_rng(seed).random(5)
        assert np.float32(confidences.min()) >= threshold(confidences, np.ones(5, bool), 1.0)


def test_out_of_scope_texts_lower_the_threshold_if_they_are_rejected_all_the_same() -> None:
    draw = default_rng(0)
    inside, right = draw.uniform(0.6, 1.0, 400), np.ones(400, bool)
    outside = draw.uniform(0.1, 0.4, 50)
    plain, found = threshold(inside, right, 0.9), threshold(inside, right, 0.9, outside)
    assert plain > 0.6
    assert outside.max() < found < 0.41


def test_out_of_scope_texts_do_not_lower_the_threshold_if_it_lies_among_them() -> None:
    draw = default_rng(0)
    inside, right = draw.uniform(0.6, 1.0, 400), np.ones(400, bool)
    plain = threshold(inside, right, 0.95)
    assert threshold(inside, right, 0.95, draw.uniform(0.6, 0.7, 50)) == plain
    assert threshold(inside, right, 0.95, np.empty(0)) == plain


@pytest.mark.parametrize("coverage", [0.8, 0.95])
@pytest.mark.parametrize("texts", [20, 50, 200])
@pytest.mark.parametrize("overlap", [2.0, 5.0, 9.0])
def test_out_of_scope_texts_help_or_change_nothing_on_average(
    coverage: float, texts: int, overlap: float
) -> None:
    """The worth on new texts: the share of correct predictions kept, minus the share of out-of-scope texts accepted."""
    gains = []
    inside, outside = default_rng(1).beta(9, 2, 20_000), default_rng(2).beta(overlap, 10, 20_000)
    for seed in range(100):
        draw = default_rng(seed + 3)
        confidences, right = draw.beta(9, 2, 150), np.ones(150, bool)
        plain = threshold(confidences, right, coverage)
        found = threshold(confidences, right, coverage, draw.beta(overlap, 10, texts))
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
        assert low <= threshold(confidences, np.ones(texts, bool), 0.95) <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3
