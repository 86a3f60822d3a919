from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.training.strata import draw_parts
from tokensieve.data.examples import Examples
from tokensieve.data.normalize import normalize_text
from tokensieve.settings import Split

PARTS = ("train", "validation", "test")


def numbered(sizes: dict[str, int]) -> Examples:
    """That many different texts of each label, the labels in turn."""
    pairs = [
        (f"{label} text {i}", label)
        for i in range(max(sizes.values()))
        for label in sizes
        if i < sizes[label]
    ]
    return Examples.of([text for text, _ in pairs], [label for _, label in pairs])


def keys(examples: Examples) -> set[str]:
    return {normalize_text(text) for text in examples.texts}


SMALL = st.lists(
    st.tuples(st.sampled_from(["a", "A ", "b", " b", "c", "d", "e", "", "f", "g"]), st.sampled_from("xyz")),
    min_size=1,
    max_size=30,
)


def examples_of(pairs: Sequence[tuple[str, str | list[str]]]) -> Examples:
    return Examples.of([text for text, _ in pairs], [label for _, label in pairs])


def test_each_class_is_dealt_by_its_shares() -> None:
    parts, dropped = draw_parts(
        {"train": numbered({"x": 100, "y": 50, "z": 20})}, Split(validation=0.1, test=0.2), seed=0
    )
    assert {name: counts(parts[name]) for name in PARTS} == {
        "test": {"x": 20, "y": 10, "z": 4},
        "validation": {"x": 8, "y": 4, "z": 2},
        "train": {"x": 72, "y": 36, "z": 14},
    }
    assert dropped == {"train": 0}


def test_nothing_is_lost_and_rows_keep_their_order() -> None:
    train = numbered({"x": 30, "y": 31})
    parts, _ = draw_parts({"train": train}, Split(), seed=3)
    assert sorted(row for name in PARTS for row in parts[name].rows) == train.rows
    for name in PARTS:
        assert parts[name].rows == sorted(parts[name].rows)
        assert parts[name] == train.take([row - 1 for row in parts[name].rows])


def test_small_classes_keep_a_text_for_training_first() -> None:
    parts, _ = draw_parts({"train": numbered({"one": 1, "two": 2, "three": 3, "four": 4})}, Split(), seed=0)
    assert counts(parts["train"]) == {"one": 1, "two": 1, "three": 1, "four": 2}
    assert counts(parts["validation"]) == {"two": 1, "three": 1, "four": 1}
    assert counts(parts["test"]) == {"three": 1, "four": 1}


def test_the_seed_alone_decides() -> None:
    train = numbered({"x": 40, "y": 40})
    first, again, other = (draw_parts({"train": train}, Split(), seed)[0] for seed in (1, 1, 2))
    assert first == again
    assert all(first[name] != other[name] for name in PARTS)


def test_the_order_of_the_rows_does_not_decide() -> None:
    train = numbered({"x": 40, "y": 40})
    parts, _ = draw_parts({"train": train}, Split(), seed=1)
    turned, _ = draw_parts({"train": train.take(range(len(train) - 1, -1, -1))}, Split(), seed=1)
    assert {name: keys(parts[name]) for name in PARTS} == {name: keys(turned[name]) for name in PARTS}


def test_a_class_more_leaves_the_others_as_they_are() -> None:
    parts, _ = draw_parts({"train": numbered({"x": 40})}, Split(), seed=1)
    more, _ = draw_parts({"train": numbered({"x": 40, "new": 10})}, Split(), seed=1)
    assert all(keys(parts[name]) <= keys(more[name]) for name in PARTS)


@given(SMALL, st.none() | st.integers(1, 3), st.integers(0, 5))
def test_no_text_stands_in_two_parts(pairs: list[tuple[str, str]], shots: int | None, seed: int) -> None:
    parts, _ = draw_parts({"train": examples_of(pairs)}, Split(validation=0.3, test=0.4), seed, shots)
    found = [keys(parts[name]) for name in PARTS]
    assert sum(map(len, found)) == len(set().union(*found))
    assert sum(len(parts[name]) for name in PARTS) == len(pairs) or shots is not None


@given(SMALL, SMALL, SMALL, st.sampled_from([("test",), ("validation",), ("test", "validation")]))
def test_given_parts_are_kept_whole_and_their_texts_leave_train(
    train: list[tuple[str, str]],
    test: list[tuple[str, str]],
    validation: list[tuple[str, str]],
    names: tuple[str, ...],
) -> None:
    given_parts = {name: examples_of({"test": test, "validation": validation}[name]) for name in names}
    parts, dropped = draw_parts({"train": examples_of(train), **given_parts}, Split(), seed=0)
    assert {name: parts[name] for name in names} == given_parts
    taken = set().union(*(keys(part) for part in given_parts.values()))
    assert dropped == {"train": sum(normalize_text(text) in taken for text, _ in train)}
    made = [name for name in PARTS if name not in names]
    assert sum(len(parts[name]) for name in made) == len(train) - dropped["train"]
    assert not any(keys(parts[name]) & taken for name in made)


def test_texts_out_of_scope_are_handed_on() -> None:
    oos = Examples.of(["sing a song"])
    parts, _ = draw_parts({"train": numbered({"x": 10}), "oos": oos}, Split(), seed=0)
    assert parts["oos"] == oos


def test_shots_are_exact_where_there_are_enough_texts() -> None:
    parts, _ = draw_parts(
        {"train": numbered({"x": 60, "y": 30, "z": 6})}, Split(validation=0.5, test=0.2), seed=0, shots=5
    )
    assert counts(parts["train"]) == {"x": 5, "y": 5, "z": 3}
    assert counts(parts["validation"]) == {"x": 5, "y": 5, "z": 2}
    assert counts(parts["test"]) == {"x": 12, "y": 6, "z": 1}


def test_shots_with_given_parts_take_from_train_alone() -> None:
    given_parts = {"test": Examples.of(["t"], ["x"]), "validation": Examples.of(["v"], ["x"])}
    parts, _ = draw_parts({"train": numbered({"x": 20, "y": 20}), **given_parts}, Split(), seed=0, shots=7)
    assert counts(parts["train"]) == {"x": 7, "y": 7}
    assert (parts["test"], parts["validation"]) == (given_parts["test"], given_parts["validation"])


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
def test_each_of_several_labels_is_dealt_by_its_shares(seed: int) -> None:
    train = sets(seed)
    parts, _ = draw_parts({"train": train}, Split(validation=0.1, test=0.2), seed)
    assert sorted(row for name in PARTS for row in parts[name].rows) == train.rows
    for label, texts in counts(train).items():
        assert counts(parts["test"])[label] == pytest.approx(0.2 * texts, abs=3), label
        assert counts(parts["validation"])[label] == pytest.approx(0.08 * texts, abs=3), label
        assert min(counts(parts[name])[label] for name in PARTS) >= 1, label


def test_iterative_stratification_keeps_rare_labels_better_than_chance() -> None:
    def miss(test: Counter[str], whole: Counter[str]) -> float:
        return sum(abs(test[label] / texts - 0.2) for label, texts in whole.items())

    train, draw = sets(7), random.Random(0)
    drawn = [counts(draw_parts({"train": train}, Split(test=0.2), seed)[0]["test"]) for seed in range(5)]
    by_chance = [counts(train.take(draw.sample(range(len(train)), 120))) for _ in range(5)]
    assert max(miss(test, counts(train)) for test in drawn) < min(
        miss(test, counts(train)) for test in by_chance
    )


def test_texts_of_several_labels_are_drawn_by_the_seed_not_by_the_order_of_rows() -> None:
    train = sets(1, 100)
    turned = train.take(range(len(train) - 1, -1, -1))
    first, again, other = (
        draw_parts({"train": given}, Split(), seed)[0]
        for given, seed in ((train, 1), (turned, 1), (train, 2))
    )
    assert all(keys(first[name]) == keys(again[name]) != keys(other[name]) for name in PARTS)


MANY = st.lists(
    st.tuples(
        st.sampled_from(["a", "A ", "b", " b", *"cdefghijk"]),
        st.sets(st.sampled_from("wxyz")).map(sorted),
    ),
    min_size=1,
    max_size=30,
)


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
    parts, dropped = draw_parts(
        {"train": examples_of(train), **given_parts}, Split(validation=0.3, test=0.4), 0, shots
    )
    assert {name: parts[name] for name in names} == given_parts
    made = [parts[name] for name in PARTS if name not in names]
    assert sum(map(len, map(keys, made))) == len(set().union(*map(keys, made)))
    assert sum(map(len, made)) == len(train) - dropped["train"] or shots is not None
    assert {label for part in made for label in counts(part)} - {""} <= set(counts(parts["train"]))


def test_shots_are_the_least_of_each_label_and_of_none() -> None:
    train = sets(3)
    parts, _ = draw_parts({"train": train}, Split(), 0, shots=5)
    whole = counts(draw_parts({"train": train}, Split(), 0)[0]["train"])
    for label, texts in whole.items():
        assert counts(parts["train"])[label] >= min(5, texts), label
    assert len(parts["train"]) <= 5 * len(whole)
    assert len(parts["validation"]) <= 5 * len(whole)
    assert len(parts["test"]) > 100


def test_the_published_samples_stay_as_they_are() -> None:
    whole, _ = draw_parts({"train": numbered({"x": 30, "y": 20, "z": 7})}, Split(), seed=3)
    few, _ = draw_parts({"train": numbered({"x": 30, "y": 20, "z": 7})}, Split(), seed=3, shots=2)
    several, _ = draw_parts({"train": sets(1, 80)}, Split(), seed=3)
    rows = [part.rows for parts in (whole, few, several) for part in (parts[name] for name in PARTS)]
    # The split of the published results.
    assert hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16] == "6524b4fc8839e16b"
