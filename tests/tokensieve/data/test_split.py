from __future__ import annotations

import random
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokensieve.data.examples import Examples
from tokensieve.data.normalize import normalize_text
from tokensieve.data.split import assign_parts, check_trainable, split_examples
from tokensieve.errors import InputError
from tokensieve.settings import Split

DEALT = ("train", "validation", "test")
SHARES = {"validation": 0.1, "test": 0.2}


def numbered(sizes: dict[str, int]) -> Examples:
    """That many different texts of each label, the labels in turn."""
    pairs = [
        (f"{label} text {i}", label)
        for i in range(max(sizes.values()))
        for label in sizes
        if i < sizes[label]
    ]
    return examples_of(pairs)


def examples_of(pairs: Sequence[tuple[str, str | list[str]]]) -> Examples:
    return Examples.of([text for text, _ in pairs], [label for _, label in pairs])


def keys(examples: Examples) -> set[str]:
    return {normalize_text(text) for text in examples.texts}


def places(examples: Examples, seed: int = 0, split: Split | None = None) -> dict[str, str]:
    """The part of each folded text."""
    parts, _ = split_examples({"train": examples}, split or Split(), seed)
    return {text: name for name in DEALT for text in keys(parts[name])}


SMALL = st.lists(
    st.tuples(st.sampled_from(["a", "A ", "b", " b", "c", "d", "e", "", "f", "g"]), st.sampled_from("xyz")),
    min_size=1,
    max_size=30,
)
MANY = st.lists(
    st.tuples(
        st.sampled_from(["a", "A ", "b", " b", *"cdefghijk"]),
        st.sets(st.sampled_from("wxyz")).map(sorted),
    ),
    min_size=1,
    max_size=30,
)
# Classes of very different size, whose texts do not repeat.
CLASSES = st.dictionaries(st.sampled_from("uvwxyz"), st.integers(1, 80), min_size=1)


def test_each_class_has_its_shares_up_to_chance() -> None:
    parts, dropped = split_examples(
        {"train": numbered({"x": 2000, "y": 1000, "z": 500})}, Split(validation=0.1, test=0.2), seed=0
    )
    for label, texts in {"x": 2000, "y": 1000, "z": 500}.items():
        for name, share in (("test", 0.2), ("validation", 0.08), ("train", 0.72)):
            deviation = (texts * share * (1 - share)) ** 0.5
            assert counts(parts[name])[label] == pytest.approx(texts * share, abs=4 * deviation), (
                label,
                name,
            )
    assert dropped == {"train": 0}


def test_nothing_is_lost_and_rows_keep_their_order() -> None:
    train = numbered({"x": 30, "y": 31})
    parts, _ = split_examples({"train": train}, Split(), seed=3)
    assert sorted(row for name in DEALT for row in parts[name].rows) == train.rows
    for name in DEALT:
        assert parts[name].rows == sorted(parts[name].rows)
        assert parts[name] == train.take([row - 1 for row in parts[name].rows])


@given(CLASSES, st.integers(0, 50))
def test_every_class_is_trained_on_and_judged_by_what_it_has(sizes: dict[str, int], seed: int) -> None:
    parts, _ = split_examples({"train": numbered(sizes)}, Split(), seed)
    for label, texts in sizes.items():
        held = {name: counts(parts[name])[label] for name in DEALT}
        assert held["train"] >= 1, held
        if texts >= 4:
            assert min(held.values()) >= 1, held


def test_the_seed_alone_decides_and_the_order_of_the_rows_does_not() -> None:
    train = numbered({"x": 40, "y": 40})
    turned = train.take(range(len(train) - 1, -1, -1))
    assert places(train, 1) == places(turned, 1) == places(train, 1)
    assert places(train, 1) != places(train, 2)


@given(CLASSES, CLASSES, st.integers(0, 50))
def test_more_rows_move_no_text_of_a_class_that_has_its_own_in_each_part(
    before: dict[str, int], more: dict[str, int], seed: int
) -> None:
    """The promise: only a class that lacks a text in some part by hash alone lends one, and takes
    it back.
    """
    grown = {label: before.get(label, 0) + more.get(label, 0) for label in before | more}
    first, second = places(numbered(before), seed), places(numbered(grown), seed)
    for label in before:
        texts = [text for text in first if text.startswith(f"{label} ")]
        by_hash = {text: alone(text, seed) for text in texts}
        if set(by_hash.values()) == set(DEALT):
            assert {text: first[text] for text in texts} == {text: second[text] for text in texts} == by_hash
        else:
            # At most one text is lent to each part.
            assert sum(first[text] != part for text, part in by_hash.items()) <= 3


@given(st.integers(100, 400), st.integers(1, 400), st.integers(0, 50))
def test_no_test_text_is_trained_on_after_the_data_have_grown_or_shrunk(
    rows: int, more: int, seed: int
) -> None:
    first = places(numbered({"x": rows, "y": rows}), seed)
    second = places(numbered({"x": rows + more, "y": rows + more}), seed)
    assert {text: second[text] for text in first} == first


def test_a_text_keeps_its_part_whatever_its_label_or_spelling() -> None:
    train = numbered({"x": 100, "y": 100})
    relabelled = replace(train, texts=[f" {text.upper()}" for text in train.texts], labels=train.labels[::-1])
    assert places(train) == places(relabelled)


def test_a_given_test_file_leaves_validation_as_it_is() -> None:
    train = numbered({"x": 300})
    alone, _ = split_examples({"train": train}, Split(), seed=0)
    beside, _ = split_examples({"train": train, "test": Examples.of(["else"], ["x"])}, Split(), seed=0)
    assert keys(alone["validation"]) <= keys(beside["validation"])
    assert keys(beside["validation"]) - keys(alone["validation"]) <= keys(alone["test"])


def alone(text: str, seed: int) -> str:
    """The part that a text's hash gives it, without any other text: three stand-ins keep its label
    from lending it.
    """
    for name in range(10_000):
        labels = {text: ["x"], **{f"{name} {i}": ["x"] for i in range(60)}}
        found = assign_parts(labels, SHARES, seed)
        if {part for other, part in found.items() if other != text} == set(DEALT):
            return found[text]
    raise AssertionError


@given(SMALL, st.none() | st.integers(1, 3), st.integers(0, 5))
def test_no_text_stands_in_two_parts(pairs: list[tuple[str, str]], shots: int | None, seed: int) -> None:
    parts, _ = split_examples({"train": examples_of(pairs)}, Split(validation=0.3, test=0.4), seed, shots)
    found = [keys(parts[name]) for name in DEALT]
    assert sum(map(len, found)) == len(set().union(*found))
    assert sum(len(parts[name]) for name in DEALT) == len(pairs) or shots is not None


@given(SMALL, SMALL, SMALL, st.sampled_from([("test",), ("validation",), ("test", "validation")]))
def test_given_parts_are_kept_whole_and_their_texts_leave_train(
    train: list[tuple[str, str]],
    test: list[tuple[str, str]],
    validation: list[tuple[str, str]],
    names: tuple[str, ...],
) -> None:
    given_parts = {name: examples_of({"test": test, "validation": validation}[name]) for name in names}
    parts, dropped = split_examples({"train": examples_of(train), **given_parts}, Split(), seed=0)
    assert {name: parts[name] for name in names} == given_parts
    taken = set().union(*(keys(part) for part in given_parts.values()))
    assert dropped == {"train": sum(normalize_text(text) in taken for text, _ in train)}
    made = [name for name in DEALT if name not in names]
    assert sum(len(parts[name]) for name in made) == len(train) - dropped["train"]
    assert not any(keys(parts[name]) & taken for name in made)


def test_texts_out_of_scope_are_handed_on() -> None:
    oos = Examples.of(["sing a song"])
    parts, _ = split_examples({"train": numbered({"x": 10}), "oos": oos}, Split(), seed=0)
    assert parts["oos"] == oos


def test_shots_are_exact_if_there_are_enough_texts() -> None:
    parts, _ = split_examples(
        {"train": numbered({"x": 200, "y": 100, "z": 6})}, Split(validation=0.5, test=0.2), seed=0, shots=5
    )
    found = counts(parts["train"])
    assert (found["x"], found["y"]) == (5, 5)
    assert counts(parts["validation"])["x"] == 5
    assert 20 < counts(parts["test"])["x"] < 60


def test_shots_with_given_parts_take_from_train_alone() -> None:
    given_parts = {"test": Examples.of(["t"], ["x"]), "validation": Examples.of(["v"], ["x"])}
    parts, _ = split_examples(
        {"train": numbered({"x": 20, "y": 20}), **given_parts}, Split(), seed=0, shots=7
    )
    assert counts(parts["train"]) == {"x": 7, "y": 7}
    assert (parts["test"], parts["validation"]) == (given_parts["test"], given_parts["validation"])


def test_of_more_texts_the_shots_are_mostly_the_same() -> None:
    few, _ = split_examples({"train": numbered({"x": 100})}, Split(), seed=0, shots=10)
    more, _ = split_examples({"train": numbered({"x": 110})}, Split(), seed=0, shots=10)
    assert len(keys(few["train"]) & keys(more["train"])) >= 7
    assert not keys(more["train"]) & keys(few["test"])


def test_what_nothing_can_be_trained_on_is_refused() -> None:
    few, _ = split_examples({"train": numbered({"x": 2, "y": 2})}, Split(), seed=0)
    with pytest.raises(
        InputError, match="no text is left for test: give at least 4 different texts per class"
    ):
        check_trainable(few)
    gone, _ = split_examples(
        {"train": numbered({"x": 9, "y": 9}), "test": numbered({"y": 9})}, Split(), seed=0
    )
    with pytest.raises(InputError, match="class 'y' of test has no text left in train"):
        check_trainable(gone)
    check_trainable(split_examples({"train": numbered({"x": 9, "y": 9})}, Split(), seed=0)[0])


def test_an_empty_label_is_no_class_that_could_be_trained() -> None:
    parts, _ = split_examples({"train": numbered({"x": 9, "": 9})}, Split(), seed=0)
    with pytest.raises(InputError, match=r"some rows have no label; .* --set data\.unlabelled=drop"):
        check_trainable(parts)
    check_trainable({name: replace(part, multi_label=True) for name, part in parts.items()})


def sets(seed: int, texts: int = 600) -> Examples:
    """Texts with labels of very different frequency, each by itself, and one that stands beside
    another only.
    """
    draw = random.Random(seed)
    rates = {"a": 0.5, "b": 0.3, "c": 0.1, "d": 0.05, "e": 0.03}
    own = [[label for label, rate in rates.items() if draw.random() < rate] for _ in range(texts)]
    own = [[*labels, "f"] if "c" in labels and draw.random() < 0.5 else labels for labels in own]
    return Examples.of([f"text {i}" for i in range(texts)], own)


def counts(examples: Examples) -> Counter[str]:
    """The texts with each label; under "" those without."""
    return Counter(name for names in examples.labels for name in names or ("",))


@pytest.mark.parametrize("seed", range(3))
def test_each_of_several_labels_is_in_each_part(seed: int) -> None:
    train = sets(seed)
    parts, _ = split_examples({"train": train}, Split(validation=0.1, test=0.2), seed)
    assert sorted(row for name in DEALT for row in parts[name].rows) == train.rows
    for label in counts(train):
        assert min(counts(parts[name])[label] for name in DEALT) >= 1, label
    check_trainable(parts)


def test_texts_of_several_labels_stay_as_the_data_grow() -> None:
    first, second = places(sets(1, 500), 1), places(sets(1, 600), 1)
    assert {text: second[text] for text in first} == first


@given(
    MANY,
    MANY,
    st.sampled_from([(), ("test",), ("validation",), ("test", "validation")]),
    st.none() | st.integers(1, 3),
)
def test_texts_of_several_labels_stand_in_one_part_and_every_label_in_train(
    train: list[tuple[str, str]], other: list[tuple[str, str]], names: tuple[str, ...], shots: int | None
) -> None:
    given_parts = {name: examples_of(other) for name in names}
    parts, dropped = split_examples(
        {"train": examples_of(train), **given_parts}, Split(validation=0.3, test=0.4), 0, shots
    )
    assert {name: parts[name] for name in names} == given_parts
    made = [parts[name] for name in DEALT if name not in names]
    assert sum(map(len, map(keys, made))) == len(set().union(*map(keys, made)))
    assert sum(map(len, made)) == len(train) - dropped["train"] or shots is not None
    assert {label for part in made for label in counts(part)} - {""} <= set(counts(parts["train"]))


def test_shots_are_the_least_of_each_label_and_of_none() -> None:
    train = sets(3)
    parts, _ = split_examples({"train": train}, Split(), 0, shots=5)
    whole = counts(split_examples({"train": train}, Split(), 0)[0]["train"])
    for label, texts in whole.items():
        assert counts(parts["train"])[label] >= min(5, texts), label
    assert len(parts["train"]) <= 5 * len(whole)
    assert len(parts["validation"]) <= 5 * len(whole)
    assert len(parts["test"]) > 80


def test_copies_that_look_the_same_are_in_one_part() -> None:
    texts = [f"text {i} é" for i in range(40)]
    twins = [unicodedata.normalize("NFD", text).replace(" ", "  ") for text in texts]
    whole = Examples.of([*texts, *twins], ["a", "b"] * 40)
    found, dropped = split_examples({"train": whole}, Split(), 0)
    assert dropped == {"train": 0}
    for part in found.values():
        assert {(row - 1) % 40 for row in part.rows if row <= 40} == {
            (row - 1) % 40 for row in part.rows if row > 40
        }
    _, dropped = split_examples({"train": whole, "test": Examples.of(twins[:3], ["a"] * 3)}, Split(), 0)
    assert dropped == {"train": 6}
