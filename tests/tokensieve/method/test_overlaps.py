"""Parts of one sentence are shown once."""

from __future__ import annotations

from tokensieve.method.constructs import Construct, top_constructs
from tokensieve.method.overlaps import without_overlaps


def construct(text: str, texts: int, weight: float = 0.1) -> Construct:
    return Construct(text, "refund", 0.2, weight, texts)


def test_of_the_parts_of_one_sentence_the_strongest_stays() -> None:
    found = [
        construct(text, texts)
        for text, texts in (
            ("case opened through", 10),
            ("case opened", 11),
            ("opened through zephyr", 10),
            ("case", 40),  # in many other texts, too
            ("refund", 10),
        )
    ]
    assert [one.text for one in without_overlaps(found, 9)] == ["case opened through", "case", "refund"]
    assert [one.text for one in without_overlaps(found, 2)] == ["case opened through", "case"]


def test_of_equally_strong_parts_a_class_shows_the_longest_and_another_word_instead() -> None:
    found = [
        construct("opened", 10),
        construct("case opened through", 10),
        construct("money", 9, 0.05),
        construct("through", 10),
    ]
    assert top_constructs(found, 2) == {"refund": ["case opened through", "money"]}


def test_phrases_with_one_word_in_common_stay() -> None:
    texts = ("cancel my", "my refund", "refund to", "to cancel")
    assert [one.text for one in without_overlaps([construct(text, 10) for text in texts], 9)] == list(texts)


def test_words_of_scripts_without_spaces_overlap() -> None:
    found = [construct("客服热", 10), construct("服热线", 10), construct("服热", 10), construct("退款", 10)]
    assert [one.text for one in without_overlaps(found, 9)] == ["客服热", "退款"]
