from __future__ import annotations

import numpy as np

from tokensieve.data.folds import assign_folds

LABELS = [("a",)] * 9 + [("b",)] * 6 + [("c",)] * 2
TEXTS = [f"text {i}" for i in range(len(LABELS))]


def test_folds_spread_each_class() -> None:
    folds = assign_folds(TEXTS, LABELS, 3, seed=0)
    assert [
        np.bincount(folds[[label == (name,) for label in LABELS]], minlength=3).tolist() for name in "ab"
    ] == [[3, 3, 3], [2, 2, 2]]
    assert (assign_folds(TEXTS, LABELS, 3, seed=0) == folds).all()
    assert (assign_folds(TEXTS, LABELS, 3, seed=1) != folds).any()


def test_copies_of_a_text_are_in_one_fold() -> None:
    texts = [*TEXTS, *(f"  TEXT {i}" for i in range(len(LABELS)))]
    for seed in range(5):
        folds = assign_folds(texts, [*LABELS, *LABELS], 4, seed)
        assert (folds[: len(TEXTS)] == folds[len(TEXTS) :]).all()
        assert set(folds.tolist()) == {0, 1, 2, 3}
