"""Which texts are copies of each other."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokensieve.data.normalize import copy_key, is_blank, normalize_text


@pytest.mark.parametrize(
    "copy",
    [
        "Où est  mon café ?",
        "OÙ EST MON CAFÉ ?",
        unicodedata.normalize("NFD", "Où est mon café ?"),
        "Ｏù est mon ｃａｆé ？",
        "Où est\u200b mon\u00a0café\ufeff ?\n",
    ],
)
def test_copies_have_the_same_key(copy: str) -> None:
    assert copy_key(copy) == copy_key("Où est mon café ?")


def test_other_texts_have_another_key() -> None:
    assert len({copy_key(text) for text in ("card", "cards", "card?", "cârd", "carte")}) == 5


@given(st.text(), st.text())
def test_texts_with_the_same_normal_form_have_the_same_key(one: str, other: str) -> None:
    assert copy_key(normalize_text(one)) == copy_key(one)
    assert normalize_text(one) != normalize_text(other) or copy_key(one) == copy_key(other)


@pytest.mark.parametrize("text", ["", " \t\n", "\u200b", "\ufeff\u200d \u2060", "\u3000"])
def test_texts_of_invisible_characters_are_empty(text: str) -> None:
    assert is_blank(text)
    assert not copy_key(text)


@pytest.mark.parametrize("text", ["\x00\x7f", "\u3164 \u3164", "\u2800\ufe0f", "\U000e0100", "\u180f"])
def test_what_shows_nothing_is_empty(text: str) -> None:
    assert is_blank(text)
    assert not is_blank(text + ".")
