from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokensieve.dataset import Examples
from tokensieve.errors import InputError
from tokensieve.quality import folded
from tokensieve.settings import Split
from tokensieve.splits import deal, refuse_untrainable

DEALT = ("train", "validation", "test")


def numbered(sizes: dict[str, int]) -> Examples:
    """That many different texts of each label, the labels in turn."""
    pairs = [(f"{label} text {i}", label) for i in range(max(sizes.values())) for label in sizes if i < sizes[label]]
    return Examples([text for text, _ in pairs], [label for _, label in pairs], list(range(1, len(pairs) + 1)))


def keys(examples: Examples) -> set[str]:
    return {folded(text) for text in examples.texts}


SMALL = st.lists(
    st.tuples(st.sampled_from(["a", "A ", "b", " b", "c", "d", "e", "", "f", "g"]), st.sampled_from("xyz")), min_size=1, max_size=30
)


def examples_of(pairs: list[tuple[str, str]]) -> Examples:
    return Examples([text for text, _ in pairs], [label for _, label in pairs], list(range(1, len(pairs) + 1)))


def test_each_class_is_dealt_by_its_shares() -> None:
    parts, dropped = deal({"train": numbered({"x": 100, "y": 50, "z": 20})}, Split(validation=0.1, test=0.2), seed=0)
    assert {name: Counter(parts[name].labels) for name in DEALT} == {
        "test": {"x": 20, "y": 10, "z": 4},
        "validation": {"x": 8, "y": 4, "z": 2},
        "train": {"x": 72, "y": 36, "z": 14},
    }
    assert dropped == {"train": 0}


def test_nothing_is_lost_and_rows_keep_their_order() -> None:
    train = numbered({"x": 30, "y": 31})
    parts, _ = deal({"train": train}, Split(), seed=3)
    assert sorted(row for name in DEALT for row in parts[name].rows) == train.rows
    for name in DEALT:
        assert parts[name].rows == sorted(parts[name].rows)
        assert parts[name] == train.take([row - 1 for row in parts[name].rows])


def test_small_classes_keep_a_text_for_training_first() -> None:
    parts, _ = deal({"train": numbered({"one": 1, "two": 2, "three": 3, "four": 4})}, Split(), seed=0)
    assert Counter(parts["train"].labels) == {"one": 1, "two": 1, "three": 1, "four": 2}
    assert Counter(parts["validation"].labels) == {"two": 1, "three": 1, "four": 1}
    assert Counter(parts["test"].labels) == {"three": 1, "four": 1}


def test_the_seed_alone_decides() -> None:
    train = numbered({"x": 40, "y": 40})
    first, again, other = (deal({"train": train}, Split(), seed)[0] for seed in (1, 1, 2))
    assert first == again
    assert all(first[name] != other[name] for name in DEALT)


def test_the_order_of_the_rows_does_not_decide() -> None:
    train = numbered({"x": 40, "y": 40})
    parts, _ = deal({"train": train}, Split(), seed=1)
    turned, _ = deal({"train": train.take(range(len(train) - 1, -1, -1))}, Split(), seed=1)
    assert {name: keys(parts[name]) for name in DEALT} == {name: keys(turned[name]) for name in DEALT}


def test_a_class_more_leaves_the_others_as_they_are() -> None:
    parts, _ = deal({"train": numbered({"x": 40})}, Split(), seed=1)
    more, _ = deal({"train": numbered({"x": 40, "new": 10})}, Split(), seed=1)
    assert all(keys(parts[name]) <= keys(more[name]) for name in DEALT)


@given(SMALL, st.none() | st.integers(1, 3), st.integers(0, 5))
def test_no_text_stands_in_two_parts(pairs: list[tuple[str, str]], shots: int | None, seed: int) -> None:
    parts, _ = deal({"train": examples_of(pairs)}, Split(validation=0.3, test=0.4), seed, shots)
    found = [keys(parts[name]) for name in DEALT]
    assert sum(map(len, found)) == len(set().union(*found))
    assert sum(len(parts[name]) for name in DEALT) == len(pairs) or shots is not None


@given(SMALL, SMALL, SMALL, st.sampled_from([("test",), ("validation",), ("test", "validation")]))
def test_given_parts_are_kept_whole_and_their_texts_leave_train(
    train: list[tuple[str, str]], test: list[tuple[str, str]], validation: list[tuple[str, str]], names: tuple[str, ...]
) -> None:
    given_parts = {name: examples_of({"test": test, "validation": validation}[name]) for name in names}
    parts, dropped = deal({"train": examples_of(train), **given_parts}, Split(), seed=0)
    assert {name: parts[name] for name in names} == given_parts
    taken = set().union(*(keys(part) for part in given_parts.values()))
    assert dropped == {"train": sum(folded(text) in taken for text, _ in train)}
    made = [name for name in DEALT if name not in names]
    assert sum(len(parts[name]) for name in made) == len(train) - dropped["train"]
    assert not any(keys(parts[name]) & taken for name in made)


def test_texts_out_of_scope_are_handed_on() -> None:
    oos = Examples(["sing a song"], [], [1])
    parts, _ = deal({"train": numbered({"x": 10}), "oos": oos}, Split(), seed=0)
    assert parts["oos"] == oos


def test_shots_are_exact_where_there_are_enough_texts() -> None:
    parts, _ = deal({"train": numbered({"x": 60, "y": 30, "z": 6})}, Split(validation=0.5, test=0.2), seed=0, shots=5)
    assert Counter(parts["train"].labels) == {"x": 5, "y": 5, "z": 3}
    assert Counter(parts["validation"].labels) == {"x": 5, "y": 5, "z": 2}
    assert Counter(parts["test"].labels) == {"x": 12, "y": 6, "z": 1}


def test_shots_with_given_parts_take_from_train_alone() -> None:
    given_parts = {"test": Examples(["t"], ["x"], [1]), "validation": Examples(["v"], ["x"], [1])}
    parts, _ = deal({"train": numbered({"x": 20, "y": 20}), **given_parts}, Split(), seed=0, shots=7)
    assert Counter(parts["train"].labels) == {"x": 7, "y": 7}
    assert (parts["test"], parts["validation"]) == (given_parts["test"], given_parts["validation"])


def test_what_nothing_can_be_trained_on_is_refused() -> None:
    few, _ = deal({"train": numbered({"x": 2, "y": 2})}, Split(), seed=0)
    with pytest.raises(InputError, match="no text is left for test: give at least 4 different texts a class"):
        refuse_untrainable(few)
    gone, _ = deal({"train": numbered({"x": 9, "y": 9}), "test": numbered({"y": 9})}, Split(), seed=0)
    with pytest.raises(InputError, match="class 'y' of test has no text left to train on"):
        refuse_untrainable(gone)
    refuse_untrainable(deal({"train": numbered({"x": 9, "y": 9})}, Split(), seed=0)[0])
