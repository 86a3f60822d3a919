from dataclasses import replace

import pytest

from tokensieve.broken_characters import count_broken_sequences, count_control_characters
from tokensieve.data.examples import Examples
from tokensieve.data.normalize import normalize_text
from tokensieve.data.quality import (
    class_sizes,
    count_copies_in,
    count_earlier_copies,
    count_labels_of_text,
    measure_classes,
    measure_rows,
    one_row_per_label,
    rules,
)
from tokensieve.settings import CHECKS, Validate


def test_texts_are_compared_stripped_and_lower_cased() -> None:
    assert normalize_text(" My Card\t") == "my card"
    assert normalize_text("my  card") != "my card"


def test_control_characters_are_counted_but_tab_and_line_ends() -> None:
    assert count_control_characters("a\tb\r\nc") == 0
    assert count_control_characters("a\x00b\x1bc\x7f") == 3
    assert count_control_characters("a\ud800b") == 1


WORDS = [
    "café",
    "naïve",
    "über",
    "GRÜSSE",
    "señor",
    "it’s",
    "“so”",
    "a – b",
    "wait…",
    "5 €",
    "20°C",
    "£5",
    "łódź",
    "ok 😀",
    "привет",
    "日本語",
]


@pytest.mark.parametrize("text", WORDS)
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_utf_8_read_in_another_encoding_is_found(text: str, encoding: str) -> None:
    # Windows-1252 has no character for five bytes; programs then keep the byte's number.
    mangled = "".join(bytes([byte]).decode(encoding, "ignore") or chr(byte) for byte in text.encode())
    assert count_broken_sequences(mangled) > 0
    assert count_broken_sequences(text) == 0


@pytest.mark.parametrize("text", ["caf\ufffd", "a\ud83d", "it\x92s"])
def test_lost_characters_are_found(text: str) -> None:
    assert count_broken_sequences(text) == 1


@pytest.mark.parametrize(
    "text",
    [
        "AMANHÃ… talvez",
        "«ROMÂ»",
        "“MANHÃ”",
        "“Ä”, “Ö”",
        "5 Å²",
        "«naïf»",
        "“voilà”…",
        "ESPAÑA",
        "Âge",
        "NÃO",
        "ß”",
    ],
)
def test_real_letters_before_punctuation_are_left_alone(text: str) -> None:
    assert count_broken_sequences(text) == 0


def test_copies_count_beyond_the_first_and_empty_texts_do_not() -> None:
    assert count_earlier_copies(["A", "b", "a ", "", "a", ""]) == [0, 0, 1, 0, 2, 0]
    assert count_earlier_copies(["my  card", "My\tcard"]) == [0, 1]


def test_a_conflict_marks_every_row_of_its_text() -> None:
    assert count_labels_of_text(
        ["A", "b", "a", "b", "", "", "c"], [("x",), ("x",), ("y",), ("x",), ("x",), ("y",), ()]
    ) == [
        2,
        1,
        2,
        1,
        0,
        0,
        0,
    ]


def test_known_texts_are_counted_and_empty_ones_are_not() -> None:
    assert count_copies_in(["A ", "b", ""], ["a", "a", ""]) == [2, 0, 0]


def test_classes_are_counted_on_their_first_row() -> None:
    assert class_sizes([("x",), ("y",), ("x",), (), ()]) == [2, 1, None, None, None]


def test_every_check_that_has_numbers_has_a_rule() -> None:
    train = Examples.of(["a", "b"], ["x", "y"])
    parts = {"train": train, "validation": train, "test": train, "oos": Examples.of(["c"])}
    found = {part: set(measure_rows(part, parts)) for part in parts}
    assert found["oos"] == {"control", "encoding", "markup", "quoted"}
    assert found["validation"] == found["oos"] | {"conflict"}
    assert found["test"] == found["validation"] | {"leak"}
    assert found["train"] == found["validation"] | {"class_size", "rare_class", "lookalike"}
    for part, checks in found.items():
        assert checks <= set(rules(Validate(), part)) <= set(CHECKS)


def test_a_blank_id_and_an_id_of_two_rows_are_faults() -> None:
    own = replace(Examples.of(["a", "b", "c", "d"], ["x"] * 4), ids=["T1", "T2", "T1", " "])
    assert measure_rows("train", {"train": own})["ids"] == [1, 0, 1, 1]
    assert "ids" in rules(Validate(), "train")


def test_without_a_readable_train_nothing_is_compared_to_it() -> None:
    assert "leak" not in measure_rows("test", {"test": Examples.of(["a"], ["x"])})


def test_of_several_labels_none_is_no_fault_and_sets_are_compared() -> None:
    train = Examples.of(["a", "b", "A", "b"], [["x", "y"], [], ["x", "y"], ["x"]])
    numbers = measure_rows("train", {"train": train})
    assert numbers["conflict"] == [1, 2, 1, 2]
    assert "class_size" not in numbers
    own = one_row_per_label(train)
    assert (own.texts, own.labels, own.rows) == (
        ["a", "a", "A", "A", "b"],
        [("x",), ("y",), ("x",), ("y",), ("x",)],
        [1, 1, 3, 3, 4],
    )
    assert measure_classes("train", own.labels, 3) == {
        "class_size": [3, 2, None, None, None],
        "rare_class": [0, 1, None, None, None],
        "lookalike": [1, 1, None, None, None],
    }
    assert measure_classes("test", own.labels) == {}
