"""Labels that look alike, and rare classes."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from tokensieve.data.examples import Examples
from tokensieve.data.label_names import lookalike_labels, prepare_labels
from tokensieve.settings import Data

DECOMPOSED = unicodedata.normalize("NFD", "café")


def labelled(*names: str | tuple[str, ...]) -> Examples:
    return Examples.of([f"text {i}" for i in range(len(names))], list(names))


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


def test_labels_that_look_alike_are_merged_into_the_most_frequent() -> None:
    train = labelled(
        "Billing", "billing", "billing", "billing\u200b", "TRUE", "True", "True", "café", DECOMPOSED
    )
    test, oos = labelled("BILLING", DECOMPOSED, "True"), labelled("", "")
    found = prepare_labels({"train": train, "test": test, "oos": oos}, Data(normalize_labels=True))
    names = [own[0] for own in found.parts["train"].labels]
    assert names == ["billing"] * 4 + ["True"] * 3 + [DECOMPOSED] * 2
    assert [own[0] for own in found.parts["test"].labels] == ["billing", DECOMPOSED, "True"]
    assert found.merged == {
        "Billing": "billing",
        "BILLING": "billing",
        "billing\u200b": "billing",
        "TRUE": "True",
        "café": DECOMPOSED,
    }
    assert found.merged_rows == 5
    assert found.parts["train"].texts == train.texts
    assert found.parts["train"].rows == train.rows
    assert len(found.parts["oos"]) == 2


def test_nothing_changes_by_default() -> None:
    parts = {"train": labelled("a", "A", "b"), "test": labelled("b")}
    found = prepare_labels(parts, Data())
    assert found.parts == parts
    assert (found.merged, found.merged_rows, found.rare, found.rare_rows) == ({}, 0, {}, 0)


def test_rare_classes_are_dropped_or_merged_in_all_parts() -> None:
    parts = {"train": labelled(*"aaabbc"), "test": labelled(*"abc")}
    dropped = prepare_labels(parts, Data(rare="drop", rare_below=3))
    assert [own[0] for own in dropped.parts["train"].labels] == ["a"] * 3
    assert dropped.parts["test"].rows == [1]
    assert (dropped.rare, dropped.rare_rows) == ({"b": 2, "c": 1}, 5)
    merged = prepare_labels(parts, Data(rare="merge", rare_below=3))
    assert [own[0] for own in merged.parts["train"].labels] == ["a"] * 3 + ["other"] * 3
    assert [own[0] for own in merged.parts["test"].labels] == ["a", "other", "other"]
    assert (merged.rare, merged.rare_rows) == ({"b": 2, "c": 1}, 5)


def test_rare_classes_are_counted_after_labels_are_merged() -> None:
    parts = {"train": labelled("a", "A", "a", "b", "b", "b")}
    found = prepare_labels(parts, Data(normalize_labels=True, rare="drop", rare_below=3))
    assert found.rare == {}


def test_the_class_other_is_never_rare() -> None:
    found = prepare_labels({"train": labelled("a", "a", "b", "other")}, Data(rare="merge", rare_below=2))
    assert [own[0] for own in found.parts["train"].labels] == ["a", "a", "other", "other"]
    assert found.rare == {"b": 1}


def test_of_several_labels_the_rare_ones_are_dropped() -> None:
    parts = {"train": labelled(("a", "b"), ("a",), ("b",), ("a", "c"), ())}
    dropped = prepare_labels(parts, Data(rare="drop", rare_below=3)).parts["train"]
    assert (dropped.labels, dropped.rows) == ([("a",), ("a",), ("a",), ()], [1, 2, 4, 5])
    merged = prepare_labels(parts, Data(rare="merge", rare_below=3)).parts["train"]
    assert merged.labels == [("a", "other"), ("a",), ("other",), ("a", "other"), ()]


@given(st.lists(st.sampled_from(["a", "A", "a ", "b", "b-c", "b c", ""]), max_size=12))
def test_after_merging_no_labels_look_alike(names: list[str]) -> None:
    found = prepare_labels({"train": labelled(*names)}, Data(normalize_labels=True)).parts["train"]
    assert lookalike_labels({own[0]: 1 for own in found.labels if own}) == []
    assert len(found) == len(names)


def test_labels_without_letters_are_themselves() -> None:
    assert lookalike_labels({"-": 1, "_": 1, "+": 1, "a": 2}) == []
