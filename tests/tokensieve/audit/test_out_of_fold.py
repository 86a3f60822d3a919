"""Out-of-fold probabilities: no text is judged by a probe that has seen it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from threadpoolctl import threadpool_info, threadpool_limits

from tokensieve.audit import out_of_fold as probes
from tokensieve.audit.neighbours import unit_length
from tokensieve.audit.out_of_fold import judged_texts, out_of_fold, out_of_fold_labels


def clusters(texts: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = np.arange(texts) % classes
    states = np.eye(classes, 8)[labels] + 0.3 * random.normal(size=(texts, 8))
    return unit_length(states), labels, random.permutation(np.arange(texts) % 4)


def test_it_is_scikit_learns_cross_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "TOLERANCE", 1e-6)
    monkeypatch.setattr(probes, "ITERATIONS", 500)
    states, labels, folds = clusters(90, 3)
    probe = LogisticRegression(C=1 / probes.PENALTY, max_iter=500, tol=1e-6)
    expected = cross_val_predict(probe, states, labels, cv=PredefinedSplit(folds), method="predict_proba")
    assert out_of_fold(states, labels, folds, 0) == pytest.approx(expected, abs=0.02)


def test_a_probe_is_fitted_by_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    fit, used = LogisticRegression.fit, set()

    def recorded(self: LogisticRegression, *arguments: object) -> LogisticRegression:
        used.update(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return fit(self, *arguments)

    monkeypatch.setattr(LogisticRegression, "fit", recorded)
    with threadpool_limits(2, "blas"):
        out_of_fold(*clusters(90, 3), 0)
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {2}
    assert used == {1}


def test_each_label_is_judged_against_the_rest() -> None:
    states, labels, folds = clusters(90, 3)
    has = np.stack([labels == 0, labels < 2, labels < 9, labels > 9], 1)
    found = out_of_fold_labels(states, has, folds, 0)
    assert found.shape == has.shape
    for label in (0, 1):
        own = has[:, label].astype(np.int64)
        assert found[:, label] == pytest.approx(out_of_fold(states, own, folds, 0)[:, 1])
    assert found[:, 2].tolist() == [1.0] * 90  # all texts have it
    assert found[:, 3].tolist() == [0.0] * 90  # none has it


def test_a_class_that_the_other_folds_lack_has_the_probability_0() -> None:
    states, labels, folds = clusters(60, 3)
    labels[0] = 3
    found = out_of_fold(states, labels, folds, 0)
    assert found.shape == (60, 4)
    assert found[0, 3] == 0.0
    assert found.sum(1) == pytest.approx(1.0)


def test_one_class_in_the_other_folds_is_certain() -> None:
    states, _, _ = clusters(4, 2)
    found = out_of_fold(states, np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]), 0)
    assert found.tolist() == [[0, 1], [0, 1], [1, 0], [1, 0]]


def test_large_data_are_fitted_on_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "MAX_FITTED", 60)
    states, labels, folds = clusters(300, 3)
    found = out_of_fold(states, labels, folds, 0)
    assert (found.argmax(1) == labels).mean() > 0.9


def test_texts_of_small_classes_are_not_judged() -> None:
    assert judged_texts(np.array([0, 1, 0, 2, 0, 1]), 2).tolist() == [0, 1, 2, 4, 5]
    assert judged_texts(np.array([], np.int64), 2).tolist() == []


def test_many_classes_are_distinguished() -> None:
    """The gradient at coefficients of 0 is small then: a loose tolerance would stop there."""
    random = np.random.default_rng(0)
    labels, folds = np.arange(1200) % 400, np.arange(1200) // 400
    states = unit_length(random.normal(size=(400, 384))[labels] + 0.3 * random.normal(size=(1200, 384)))
    found = out_of_fold(states, labels, folds, 0)
    assert (found.argmax(1) == labels).mean() > 0.95
    assert found[np.arange(1200), labels].min() > 2 / 400
