from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from benchmarks.training.scores import figures


def test_one_label_a_text_is_scored_by_accuracy() -> None:
    draw = np.random.default_rng(0)
    scores, targets = draw.normal(size=(50, 4)), draw.integers(0, 4, 50)
    found = figures(scores, targets)
    macro = metrics.f1_score(targets, scores.argmax(1), average="macro")
    assert found == pytest.approx(
        {"score": (scores.argmax(1) == targets).mean(), "accuracy": found["score"], "macro_f1": macro}
    )


def test_several_labels_a_text_are_scored_by_micro_f1() -> None:
    draw = np.random.default_rng(0)
    scores, targets = draw.normal(size=(50, 4)), draw.integers(0, 2, (50, 4)).astype(np.float32)
    found = figures(scores, targets)
    micro, macro = (metrics.f1_score(targets, scores > 0, average=kind) for kind in ("micro", "macro"))
    exact = metrics.accuracy_score(targets, scores > 0)
    assert found == pytest.approx({"score": micro, "accuracy": exact, "macro_f1": macro, "micro_f1": micro})
