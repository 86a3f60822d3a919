from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokensieve.inference.words import find_words


def each_character(text: str) -> list[tuple[int, int]]:
    return [(place, place + 1) for place in range(len(text))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I can't go, it's late!!", ["I", "can't", "go", ",", "it's", "late", "!!"]),
        ("  'quoted' \n", ["'", "quoted", "'"]),
        ("love 💔👩‍👧❤️ you", ["love", "💔👩‍👧❤️", "you"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("x\u0301y", ["x\u0301y"]),
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("iPhone手机坏了", ["iPhone", "手", "机", "坏", "了"]),
        ("", []),
        (" \t\x00", []),
    ],
)
def test_words_of_a_text(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in find_words(text, each_character(text))] == words


def test_scripts_without_spaces_are_divided_at_tokens_only() -> None:
    text = "手机坏了 phones"
    tokens = [(0, 2), (2, 4), (5, 8), (8, 11)]
    assert [text[start:end] for start, end in find_words(text, tokens)] == ["手机", "坏了", "phones"]


@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_words_are_in_order_and_leave_out_nothing_but_spaces(text: str) -> None:
    words = find_words(text, each_character(text))
    ends = [0, *(end for _, end in words)]
    assert all(before <= start < end for before, (start, end) in zip(ends, words, strict=False))
    outside = set(range(len(text))) - {place for start, end in words for place in range(start, end)}
    assert not any(text[place].isalnum() for place in outside)
