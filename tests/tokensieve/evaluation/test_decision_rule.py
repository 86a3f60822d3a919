"""The decision rule: what is fitted on few texts, with texts out of scope, and for multi-label
data.
"""

from __future__ import annotations

import numpy as np

from tokensieve.evaluation.decision_rule import fit_decision_rule
from tokensieve.evaluation.report import report
from tokensieve.inference.decisions import decide
from tokensieve.settings import Evaluate


def drawn(texts: int, seed: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Logits of six classes, and targets drawn from their softmax."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(texts, 6)) * 2.5
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return logits, (chances.cumsum(1) > draw.random((texts, 1))).argmax(1)


def test_the_threshold_varies_less_with_more_texts() -> None:
    """Of 32 texts each, thresholds between 0.3 and 0.9 were fitted on draws of the same data."""
    none = np.empty((0, 6))
    few = [fit_decision_rule(*drawn(32, seed), none, Evaluate()).rule for seed in range(20)]
    more = [fit_decision_rule(*drawn(288, seed), none, Evaluate()).rule for seed in range(20)]
    assert np.std([rule.threshold for rule in more]) < np.std([rule.threshold for rule in few]) / 2
    assert np.mean([rule.temperature == 1.0 for rule in few]) >= 0.5


def test_out_of_scope_texts_lower_the_threshold_if_that_rejects_them() -> None:
    logits, targets = drawn(400, 0)
    outside = np.random.default_rng(1).normal(size=(60, 6)) * 0.05
    alone = fit_decision_rule(logits, targets, np.empty((0, 6)), Evaluate(coverage=0.8)).rule
    fitted, facts = fit_decision_rule(logits, targets, outside, Evaluate(coverage=0.8))
    assert fitted.threshold < alone.threshold
    assert not decide(outside, fitted).confident.any()
    assert facts["calibration_oos_texts"] == 60


def test_multilabel_data_get_a_threshold_per_label() -> None:
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(200, 4)) * 3
    targets = (logits + draw.normal(size=logits.shape) > 0.5).astype(np.float64)
    fitted, facts = fit_decision_rule(logits, targets, draw.normal(size=(30, 4)), Evaluate(margin=0.2))
    assert len(fitted.thresholds) == 4
    assert fitted.margin == 0.0
    assert facts["calibration_oos_texts"] == 0
    assert report({"test": logits}, targets, list("abcd"), fitted)["test_exact_match"] > 0.3
