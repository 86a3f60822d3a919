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
    assert [one.text for one in without_overlaps(found)] == ["case opened through", "case", "refund"]


def test_of_equally_strong_parts_a_class_shows_the_longest_and_another_word_instead() -> None:
    found = [
        construct("opened", 10),
        construct("case opened through", 10),
        construct("money", 9, 0.05),
        construct("through", 10),
    ]
    assert top_constructs(found, 2) == {"refund": ["case opened through", "money"]}
