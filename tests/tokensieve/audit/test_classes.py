"""Classes with few texts, names that look alike, and classes that overlap."""

from __future__ import annotations

import unicodedata

import numpy as np

from tokensieve.audit.classes import Overlap, lookalike_labels, overlapping_classes, small_classes


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


def test_labels_that_look_alike_are_grouped() -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    sizes = {
        "Billing": 3,
        "billing": 40,
        "billing\u200b": 1,
        "bil ling": 2,
        "café": 5,
        decomposed: 6,
        "lost card": 1,
        "lost_card": 2,
        "lost  card": 1,
        "other": 9,
    }
    assert lookalike_labels(sizes) == [
        [("billing", 40), ("Billing", 3), ("billing\u200b", 1)],
        [(decomposed, 6), ("café", 5)],
        [("lost_card", 2), ("lost  card", 1), ("lost card", 1)],
    ]
