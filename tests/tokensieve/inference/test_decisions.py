from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from numpy.random import default_rng

from tokensieve.inference.decisions import DecisionRule, certainty, decide, lead, sigmoid, softmax

LOGITS = default_rng(0).normal(size=(50, 4)) * 2


def test_softmax_and_sigmoid_equal_those_of_scipy() -> None:
    np.testing.assert_allclose(softmax(LOGITS, 2.5), scipy.special.softmax(LOGITS / 2.5, axis=1), rtol=1e-12)
    np.testing.assert_allclose(sigmoid(LOGITS, 2.5), scipy.special.expit(LOGITS / 2.5), rtol=1e-12)


def test_probabilities_of_huge_logits_are_finite() -> None:
    huge = np.array([[1e6, 0.0], [0.0, -1e6]], np.float32)
    assert softmax(huge, 0.05).tolist() == [[1.0, 0.0], [1.0, 0.0]]
    assert sigmoid(np.array([[1e6, -1e6]], np.float32), 0.05).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("function", [softmax, sigmoid])
def test_the_logits_given_are_not_changed(function) -> None:  # type: ignore[no-untyped-def]
    logits = np.array([[1.0, 2.0]])
    function(logits)
    assert logits.tolist() == [[1.0, 2.0]]


def test_lead_is_the_difference_of_the_two_highest_probabilities() -> None:
    rows = np.array([[0.2, 0.7, 0.1], [0.4, 0.2, 0.4], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(lead(rows), [0.5, 0.0, 1.0])


def test_certainty_is_that_of_the_label_closest_to_its_threshold_in_odds() -> None:
    thresholds = np.array([0.5, 0.3, 0.1, 0.9])
    distance = np.abs(LOGITS - scipy.special.logit(thresholds)).min(1)
    found = certainty(scipy.special.expit(LOGITS), thresholds)
    np.testing.assert_allclose(found, scipy.special.expit(distance), rtol=1e-9)
    assert certainty(thresholds[None], thresholds) == pytest.approx(0.5)
    assert certainty(np.array([[0.0, 1.0]]), np.array([0.2, 0.7])) == 1.0


def test_a_prediction_is_uncertain_below_the_threshold_and_below_the_margin() -> None:
    logits = np.log([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.3, 0.6, 0.1]])
    assert decide(logits, DecisionRule(1.0, 0.55)).labels.tolist() == [[0], [0], [1]]
    assert decide(logits, DecisionRule(1.0, 0.55)).confident.tolist() == [True, False, True]
    assert decide(logits, DecisionRule(1.0, 0.55, 0.4)).confident.tolist() == [True, False, False]


def test_each_label_is_given_from_its_own_threshold() -> None:
    logits = scipy.special.logit([[0.6, 0.6], [0.95, 0.1]])
    found = decide(logits, DecisionRule(1.0, 0.7, thresholds=(0.5, 0.9)))
    assert found.labels.tolist() == [[True, False], [True, False]]
    assert found.confident.tolist() == [False, True]
