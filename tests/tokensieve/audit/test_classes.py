"""Classes with few texts, names that look alike, and classes that overlap."""

from __future__ import annotations

import numpy as np

from tokensieve.audit.classes import Overlap, overlapping_classes, small_classes


def test_classes_overlap_if_texts_of_both_look_like_the_other() -> None:
    given = np.repeat([0, 1, 2, 3], 10)
    predicted = given.copy()
    predicted[:4], predicted[10:13] = 1, 0  # 4 and 3 crossings
    predicted[20:26] = 3  # in one direction only
    assert overlapping_classes(given, predicted, "abcd") == [Overlap("a", "b", 4, 3, 0.35)]


def test_few_or_rare_crossings_are_no_overlap() -> None:
    given = np.repeat([0, 1], 100)
    predicted = given.copy()
    predicted[[0, 100, 101, 102]] = [1, 0, 0, 0]
    assert overlapping_classes(given, predicted, "ab") == []
    assert overlapping_classes(np.array([0, 1]), np.array([1, 0]), "ab") == []


def test_small_classes_are_sorted_by_size() -> None:
    assert small_classes({"a": 9, "b": 10, "c": 1}) == [("c", 1), ("a", 9)]
