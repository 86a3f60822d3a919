"""Texts in scripts without spaces."""

from __future__ import annotations

import pytest

from tokensieve.audit.scripts import count_without_constructs, is_unspaced


@pytest.mark.parametrize("text", ["我的卡丢了", "カードをなくした", "บัตรหาย", "PIN 我的卡丢了"])
def test_texts_without_spaces(text: str) -> None:
    assert is_unspaced(text)


@pytest.mark.parametrize("text", ["my card", "मेरा कार्ड", "카드 분실", "карта", "12345", "", "lost card 卡"])
def test_texts_with_spaces_or_without_letters(text: str) -> None:
    assert not is_unspaced(text)


def test_texts_without_a_construct_are_counted() -> None:
    texts = ["My lost card", "lost money", "我的卡丢了"]
    assert count_without_constructs(texts, ["lost card", "pin"], 2) == 2
    assert count_without_constructs(texts, [], 2) == 3
