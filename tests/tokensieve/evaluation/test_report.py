from __future__ import annotations

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.special import softmax

from tokensieve.evaluation.metrics import calibration_error, reliability
from tokensieve.evaluation.report import compare, ece_interval, is_correct, is_for_threshold, report
from tokensieve.inference.decisions import DecisionRule, decide

RULE = DecisionRule(1.0, 0.6)


def logits_of(*confidences: float, label: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    """Logits of three classes that give `label` these probabilities."""
    found = np.full((len(confidences), 3), 0.0)
    found[:, label] = np.log(2 * np.array(confidences) / (1 - np.array(confidences)))
    return found


def test_an_answer_is_confident_above_the_threshold_with_a_lead_above_the_margin() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.62, 0.28]]))
    assert decide(logits, RULE).labels.tolist() == [[0], [0], [1]]
    assert decide(logits, RULE).confident.tolist() == [True, False, True]
    assert decide(logits, DecisionRule(1.0, 0.6, 0.4)).confident.tolist() == [True, False, False]
    assert decide(logits, DecisionRule(10.0, 0.6)).confident.tolist() == [False] * 3


def test_an_answer_of_several_labels_is_right_if_all_are() -> None:
    rule = DecisionRule(1.0, 0.6, 0.0, (0.5, 0.5, 0.5))
    given = decide(np.array([[4.0, -4.0, 4.0], [0.1, -4.0, 4.0]]), rule)
    assert given.labels.tolist() == [[True, False, True]] * 2
    assert given.confident.tolist() == [True, False]
    assert is_correct(given.labels, np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])).tolist() == [True, False]


def test_a_flip_counts_if_either_of_the_two_is_confident() -> None:
    expected = np.concatenate([logits_of(0.9, 0.9, 0.5, 0.5, 0.5), logits_of(0.9)])
    found = np.concatenate(
        [
            logits_of(0.9),
            logits_of(0.5, label=1),
            logits_of(0.5, 0.9, label=1),
            logits_of(0.5),
            logits_of(0.5),
        ]
    )
    outcome = compare(found, expected, np.zeros(6, np.int64), RULE)
    # Same; torch confident in another label; neither confident; the build confident in another
    # label; same; the same but less sure.
    assert (outcome.texts, outcome.agreement) == (6, 0.5)
    assert (outcome.confident_texts, outcome.confident_agreement) == (4, 0.5)
    assert outcome.accuracy_drop == pytest.approx(3 / 6)
    assert outcome.accuracy_drop_chance == pytest.approx(1 / 8)
    assert outcome.coverage_change == pytest.approx((1 - 2) / 6)


def test_texts_without_labels_count_for_agreement_alone() -> None:
    expected = logits_of(*[0.9] * 400)
    found = expected.copy()
    found[-1] = logits_of(0.9, label=2)[0]
    outcome = compare(found, expected, np.zeros(300, np.int64), RULE)
    assert outcome.confident_agreement == pytest.approx(399 / 400)
    assert 0.985 < outcome.proven_agreement < 0.9975
    assert (outcome.accuracy_drop, outcome.coverage_change, outcome.calibration_rise) == (0.0, 0.0, 0.0)


def test_logits_that_are_no_numbers_do_not_pass_for_an_answer() -> None:
    expected = logits_of(*[0.9] * 4)
    outcome = compare(expected * np.nan, expected, np.ones(4, np.int64), RULE)
    assert np.isnan(outcome.largest_difference)


def test_a_report_has_intervals_and_counts() -> None:
    draw = default_rng(0)
    logits = draw.normal(size=(200, 4)) * 2
    targets = (softmax(logits, axis=1).cumsum(1) > draw.random((200, 1))).argmax(1)
    found = report(
        {"test": logits, "oos": logits[:50]}, targets, ["a", "b", "c", "d"], DecisionRule(2.0, 0.6)
    )
    assert found["test_accuracy"] == pytest.approx((logits.argmax(1) == targets).mean())
    low, high = found["test_accuracy_interval"]
    assert low < found["test_accuracy"] < high
    assert high - low < 0.15
    assert found["test_ece"] == pytest.approx(calibration_error(reliability(logits, targets, 2.0)))
    assert found["test_ece_before"] == pytest.approx(calibration_error(reliability(logits, targets)))
    low, high = found["test_ece_interval"]
    assert low <= found["test_ece"] <= high
    assert found["oos_texts"] == 50
    assert found["oos_recall"] == pytest.approx(
        (~decide(logits[:50], DecisionRule(2.0, 0.6)).confident).mean()
    )
    assert report({"test": logits}, targets, ["a", "b", "c", "d"], RULE)["oos_recall"] is None


def test_the_interval_of_a_large_error_contains_it() -> None:
    draw = default_rng(1)
    logits = draw.normal(size=(3000, 4)) * 2
    targets = draw.integers(0, 4, 3000)
    error = calibration_error(reliability(logits, targets))
    low, high = ece_interval(logits, targets, 1.0)
    assert error - 0.03 < low < error < high < error + 0.03


def test_a_third_of_the_texts_out_of_scope_chooses_and_the_same_whatever_their_order() -> None:
    texts = [f"text {i}" for i in range(300)]
    chosen = is_for_threshold(texts)
    assert 70 < chosen.sum() < 130
    assert (is_for_threshold(texts[::-1]) == chosen[::-1]).all()
    assert not is_for_threshold(texts[:29]).any()
    assert is_for_threshold([]).tolist() == []
