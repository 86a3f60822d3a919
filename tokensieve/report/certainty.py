"""How certain the answers are: the reliability diagram, and what each threshold would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tokensieve.evaluation import metrics
from tokensieve.evaluation.metrics import Bools, Float64s, Targets
from tokensieve.evaluation.report import is_correct
from tokensieve.inference.decisions import DecisionRule, Logits, certainty, decide
from tokensieve.report.content import Calibration, Fact, ThresholdCurve

STEPS = 61  # thresholds of the curve


def calibration(
    logits: Logits, targets: Targets, rule: DecisionRule, figures: Mapping[str, Any]
) -> Calibration:
    """Return the reliability diagrams of the test texts before and after scaling.

    `figures` is the evaluation report.
    """
    before, after = (
        tuple((bin.confidence, bin.accuracy, bin.texts) for bin in metrics.reliability(logits, targets, by))
        for by in (1.0, rule.temperature)
    )
    low, high = figures.get("test_ece_interval", (None, None))
    interval = f" ({low:.3f} to {high:.3f})" if low is not None else ""
    facts = (
        Fact("calibration error", f"{figures['test_ece']:.3f}{interval}", "0 is perfect"),
        Fact("without scaling", f"{figures['test_ece_before']:.3f}"),
        Fact("temperature", f"{rule.temperature:.2f}", "above 1: the model was too sure of itself"),
    )
    return Calibration(before, after, facts)


def threshold_curve(
    test: Logits, targets: Targets, oos: Logits | None, rule: DecisionRule, interval: Sequence[float] | None
) -> ThresholdCurve:
    """Return the shares that each confidence threshold would give.

    Args:
        test: Logits of the test texts [texts, classes].
        targets: Of the test texts, in the form of `metrics`.
        oos: Logits of out-of-scope texts that did not choose the threshold; None if there are none.
        rule: The decision rule.
        interval: The 95% interval of its threshold, or None.
    """
    confidences, correct = _confidences(test, rule), is_correct(decide(test, rule).labels, targets)
    # A multi-label certainty is at least 0.5.
    thresholds = np.linspace(0.5 if rule.thresholds else 0.0, 1.0, STEPS)
    kept = confidences[:, None] >= thresholds
    # A multi-label model gives an out-of-scope text no label, whatever its certainty is.
    others = None if oos is None or rule.thresholds else _confidences(oos, rule)
    held_back = [] if others is None else (others[:, None] < thresholds).mean(0).tolist()
    texts = f"measured on {len(test):,} test texts"
    return ThresholdCurve(
        thresholds=tuple(thresholds.tolist()),
        coverage=tuple(kept.mean(0).tolist()),
        accuracy=tuple(_share(correct, row) for row in kept.T),
        oos_recall=tuple(held_back),
        chosen=rule.threshold,
        interval=(interval[0], interval[1]) if interval else None,
        note=texts if others is None else f"{texts} and {len(others):,} out-of-scope texts",
    )


def _confidences(logits: Logits, rule: DecisionRule) -> Float64s:
    probabilities = decide(logits, rule).probabilities
    return certainty(probabilities, np.array(rule.thresholds)) if rule.thresholds else probabilities.max(1)


def _share(correct: Bools, kept: Bools) -> float | None:
    return float(correct[kept].mean()) if kept.any() else None
