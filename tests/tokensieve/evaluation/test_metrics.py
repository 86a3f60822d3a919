from __future__ import annotations

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.special import expit, log_softmax, softmax
from sklearn.metrics import (
    f1_score,
    log_loss,
    precision_recall_fscore_support,
)

from tests.tokensieve.evaluation.synthetic import drawn, several
from tokensieve.evaluation.metrics import (
    Bin,
    calibration_error,
    class_report,
    gaps,
    loss,
    macro_f1,
    micro_f1,
    reliability,
)

LABELS = ["a", "b", "c", "d"]


def predictions(texts: int = 200, classes: int = 4, seed: int = 0):  # type: ignore[no-untyped-def]
    draw = default_rng(seed)
    targets = draw.integers(0, classes, texts)
    predicted = np.where(draw.random(texts) < 0.7, targets, draw.integers(0, classes, texts))
    return targets, predicted


def test_figures_of_each_class() -> None:
    targets, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 2, 0])
    report = class_report(targets, predicted, LABELS)
    assert list(report) == LABELS
    assert report["a"] == {"precision": 2 / 3, "recall": 2 / 3, "f1": pytest.approx(2 / 3), "support": 3}
    assert report["b"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert report["c"] == report["d"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}


def test_macro_f1_is_the_mean_over_the_classes_that_occur() -> None:
    targets, predicted = predictions()
    f1 = precision_recall_fscore_support(targets, predicted)[2]
    assert macro_f1(targets, predicted) == pytest.approx(f1.mean())
    assert macro_f1(np.array([0, 0, 3]), np.array([0, 0, 1])) == pytest.approx(1 / 3)


def test_loss_equals_that_of_scipy_and_scikit_learn() -> None:
    logits, targets = drawn(50, 1.0)
    assert loss(logits, targets, 2.5) == pytest.approx(
        log_loss(targets, softmax(logits / 2.5, axis=1), labels=range(5))
    )
    assert loss(logits, targets) == pytest.approx(-log_softmax(logits, axis=1)[np.arange(50), targets].mean())


def test_loss_of_huge_logits_is_finite() -> None:
    logits = np.array([[1e6, 0.0], [0.0, -1e6]], np.float32)
    assert np.isfinite(loss(logits, np.array([1, 1])))


def test_calibration_by_hand() -> None:
    # Confidences .9 and .8 in the fifth bin of five, .55 in the third; right, wrong, right.
    logits = np.log(np.array([[0.9, 0.1], [0.8, 0.2], [0.45, 0.55]]))
    diagram = reliability(logits, np.array([0, 1, 1]), bins=5)
    assert [bin.texts for bin in diagram] == [1, 2]
    assert diagram[0] == pytest.approx((0.55, 1.0, 1))
    assert diagram[1] == pytest.approx((0.85, 0.5, 2))
    assert calibration_error(diagram) == pytest.approx((1 * 0.45 + 2 * 0.35) / 3)


def test_full_confidence_falls_into_the_last_bin() -> None:
    assert reliability(np.array([[100.0, -100.0]]), np.array([0])) == [Bin(1.0, 1.0, 1)]


def test_the_true_temperature_is_calibrated_and_others_are_not() -> None:
    logits, targets = drawn(20_000, 3.0)
    assert calibration_error(reliability(logits, targets, 3.0)) < 0.015
    assert calibration_error(reliability(logits, targets, 1.0)) > 0.1


@pytest.mark.parametrize("labels", [1, 4])
def test_the_gaps_of_texts_add_up_to_the_calibration_error(labels: int) -> None:
    logits, targets = several(200) if labels > 1 else drawn(200, 3.0)
    error = calibration_error(reliability(logits, targets, 1.5))
    assert np.abs(gaps(logits, targets, 1.5).sum(0)).sum() / targets.size == pytest.approx(error)


def test_loss_of_several_labels_equals_that_of_scikit_learn() -> None:
    logits, targets = several(50)
    each = [
        log_loss(true, expit(own / 2.5), labels=[0, 1]) for true, own in zip(targets.T, logits.T, strict=True)
    ]
    assert loss(logits, targets, 2.5) == pytest.approx(sum(each))
    huge = np.array([[1e6, -1e6]], np.float32)
    assert np.isfinite(loss(huge, np.array([[0.0, 1.0]])))


def test_figures_of_each_label_of_multilabel_data() -> None:
    logits, targets = several(300)
    decided = logits > -0.5
    values = precision_recall_fscore_support(targets, decided)
    report = class_report(targets, decided, LABELS)
    assert list(report) == LABELS
    for i, label in enumerate(LABELS):
        assert list(report[label].values()) == pytest.approx([column[i] for column in values])
    micro, macro = (f1_score(targets, decided, average=average) for average in ("micro", "macro"))
    assert (micro_f1(targets, decided), macro_f1(targets, decided)) == pytest.approx((micro, macro))
    # A label that never occurs does not count.
    wider = np.pad(targets, ((0, 0), (0, 1))), np.pad(decided, ((0, 0), (0, 1)))
    assert macro_f1(*wider) == pytest.approx(macro)


def test_nothing_present_and_nothing_predicted_scores_zero() -> None:
    none = np.zeros((3, 2))
    assert micro_f1(none, none > 0) == 0.0
    assert macro_f1(none, none > 0) == 0.0
