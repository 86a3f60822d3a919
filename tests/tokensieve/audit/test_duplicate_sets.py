"""Sets of copies: their kind, conflicts and leaks."""

from __future__ import annotations

import numpy as np

from tokensieve.audit.duplicate_sets import COPY, MEANING, NEAR_COPY, DuplicateSet, copies_of, find_duplicates

NONE = np.empty((0, 2), np.int64), np.empty(0, np.float32)


def duplicates(
    texts: list[str],
    labels: str,
    parts: list[str] | None = None,
    meaning: list[tuple[int, int, float]] | None = None,
) -> list[DuplicateSet]:
    different, own = copies_of(texts)
    pairs = NONE
    if meaning:
        pairs = np.array([pair[:2] for pair in meaning]), np.array([pair[2] for pair in meaning], np.float32)
    names = [(label,) for label in labels]
    return find_duplicates(different, own, names, parts or ["train"] * len(texts), pairs)


def test_conflicts_come_first_then_leaks_then_large_sets() -> None:
    texts = ["lost card", "Lost card!", "send money", "send money.", "close it", "close it", "hello", "bye"]
    found = duplicates(texts, "aabbcd" + "ef", ["train", "train", "train", "test"] + ["train"] * 4)
    assert [own.members for own in found] == [(4, 5), (2, 3), (0, 1)]
    assert [(own.conflict, own.leak) for own in found] == [(True, False), (False, True), (False, False)]
    assert {own.kind for own in found} == {COPY}


def test_validation_and_test_are_no_leak_of_each_other() -> None:
    assert not duplicates(["one card", "one card"], "aa", ["validation", "test"])[0].leak


def test_near_copies_come_before_texts_of_the_same_meaning() -> None:
    texts = ["where is my new card", "where is my new cards", "has my card been sent", "hello there"]
    near = duplicates(texts, "aaab")
    assert [(own.kind, sorted(own.members)) for own in near] == [(NEAR_COPY, [0, 1])]
    assert 0.75 <= near[0].similarity < 1
    both = duplicates(texts, "aaba", meaning=[(0, 1, 0.99), (0, 2, 0.96)])
    assert [(own.kind, sorted(own.members), own.conflict) for own in both] == [
        (NEAR_COPY, [0, 1], False),
        (MEANING, [0, 2], True),
    ]
    assert both[1].similarity == 0.96


def test_copies_alone_are_no_texts_of_the_same_meaning() -> None:
    found = duplicates(["lost card", "lost card", "card gone"], "aab", meaning=[(0, 1, 0.97)])
    assert [(own.kind, sorted(own.members)) for own in found] == [(COPY, [0, 1]), (MEANING, [0, 1, 2])]


def test_a_chain_of_similar_texts_is_not_one_set() -> None:
    texts = ["one thing", "other matter", "third subject", "fourth affair", "last point"]
    chain = [(i, i + 1, 0.96) for i in range(4)]
    found = duplicates(texts, "aaaaa", meaning=chain)
    assert sorted(sorted(own.members) for own in found) == [[0, 1, 2], [3, 4]]


def test_no_texts_and_no_copies() -> None:
    assert duplicates([], "") == []
    assert duplicates(["lost card", "send money"], "ab") == []
