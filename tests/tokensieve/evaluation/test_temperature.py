from __future__ import annotations

import numpy as np
import pytest
from numpy.random import default_rng

from tests.tokensieve.evaluation.synthetic import drawn, several
from tokensieve.evaluation.metrics import calibration_error, loss, reliability
from tokensieve.evaluation.temperature import cautious_temperature, fit_temperature


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_temperature_finds_a_known_scaling(scale: float) -> None:
    logits, targets = drawn(20_000, scale)
    found = fit_temperature(logits, targets)
    assert found == pytest.approx(scale, rel=0.03)
    around = [loss(logits, targets, found * factor) for factor in (0.99, 1.0, 1.01)]
    assert around[1] == min(around)


def test_the_temperature_does_not_run_away_where_all_answers_are_right_or_wrong() -> None:
    sure = np.tile([[5.0, 0.0], [0.0, 5.0]], (50, 1))
    right, wrong = np.tile([0, 1], 50), np.tile([1, 0], 50)
    assert 0.3 < fit_temperature(sure, right) < 1
    assert 1 < fit_temperature(sure, wrong) <= 20


def test_a_prior_worth_more_texts_keeps_the_temperature_closer_to_1() -> None:
    logits, targets = drawn(30, 4.0)
    assert 1 < fit_temperature(logits, targets, 20) < fit_temperature(logits, targets)


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_one_temperature_calibrates_all_labels(scale: float) -> None:
    logits, targets = several(20_000, scale)
    assert fit_temperature(logits, targets) == pytest.approx(scale, rel=0.03)
    diagram = reliability(logits, targets, scale)
    assert calibration_error(diagram) < 0.005
    assert sum(bin.texts for bin in diagram) == targets.size


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_a_wrong_scale_is_found_on_many_texts(scale: float) -> None:
    assert cautious_temperature(*drawn(3000, scale, classes=8, spread=2.5)) == pytest.approx(scale, rel=0.1)


def test_on_few_texts_a_temperature_is_rarely_worse_than_none() -> None:
    logits, targets = drawn(20_000, 1.0, seed=99, classes=8, spread=2.5)
    plain = calibration_error(reliability(logits, targets))
    fitted = [cautious_temperature(*drawn(32, 1.0, seed, classes=8, spread=2.5)) for seed in range(60)]
    worse = [calibration_error(reliability(logits, targets, found)) - plain > 0.01 for found in fitted]
    assert np.mean(np.array(fitted) == 1.0) > 0.5
    assert np.mean(worse) <= 0.15


def test_the_temperature_of_several_labels_is_checked_alike() -> None:
    draw = default_rng(0)
    logits = draw.normal(size=(2000, 4)) * 2
    targets = (1 / (1 + np.exp(-logits)) > draw.random(logits.shape)).astype(float)
    assert cautious_temperature(logits * 3, targets) == pytest.approx(3, rel=0.1)
    assert loss(logits * 3, targets, cautious_temperature(logits * 3, targets)) < loss(logits * 3, targets)
