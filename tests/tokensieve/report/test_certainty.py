from __future__ import annotations

import numpy as np
import pytest

from tests.tokensieve.evaluation.synthetic import drawn, several
from tokensieve.inference.decisions import DecisionRule, softmax
from tokensieve.report.certainty import calibration, threshold_curve


def test_the_curve_is_what_each_threshold_would_give() -> None:
    logits, targets = drawn(200, 1.0)
    oos, _ = drawn(50, 0.3, seed=1)
    rule = DecisionRule(1.3, 0.6)
    curve = threshold_curve(logits, targets, oos, rule, (0.5, 0.7))
    place = next(i for i, value in enumerate(curve.thresholds) if value >= 0.6)
    confidences = softmax(logits, 1.3).max(1)
    kept = confidences >= curve.thresholds[place]
    assert curve.coverage[place] == pytest.approx(kept.mean())
    assert curve.accuracy[place] == pytest.approx((logits.argmax(1) == targets)[kept].mean())
    assert curve.oos_recall[place] == pytest.approx(
        (softmax(oos, 1.3).max(1) < curve.thresholds[place]).mean()
    )
    assert (curve.thresholds[0], curve.thresholds[-1]) == (0.0, 1.0)
    assert curve.coverage[0] == 1.0
    assert curve.note == "measured on 200 test texts and 50 out-of-scope texts"


def test_without_out_of_scope_texts_and_above_all_confidences_nothing_is_claimed() -> None:
    curve = threshold_curve(np.array([[2.0, 0.0]]), np.array([0]), None, DecisionRule(1.0, 0.6), ())
    assert curve.oos_recall == ()
    assert curve.accuracy[-1] is None
    assert curve.coverage[-1] == 0.0


def test_a_multi_label_curve_starts_at_one_half() -> None:
    logits, targets = several(100)
    rule = DecisionRule(1.0, 0.6, thresholds=(0.5,) * 4)
    curve = threshold_curve(logits, targets, logits, rule, ())
    assert (curve.thresholds[0], curve.coverage[0]) == (0.5, 1.0)
    assert curve.oos_recall == ()


def test_the_diagrams_are_before_and_after_scaling() -> None:
    logits, targets = drawn(400, 3.0)
    report = {"test_ece": 0.02, "test_ece_before": 0.2, "test_ece_interval": [0.01, 0.03]}
    found = calibration(logits, targets, DecisionRule(3.0, 0.5), report)
    assert found.before[-1][0] > found.before[-1][1]
    assert sum(texts for _, _, texts in found.after) == 400
    assert [fact.value for fact in found.facts] == ["0.020 (0.010 to 0.030)", "0.200", "3.00"]
