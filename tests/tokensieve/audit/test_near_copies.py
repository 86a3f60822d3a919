"""Near-copies: against all pairs, and what counts as the same."""

from __future__ import annotations

import unicodedata
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokensieve.audit.near_copies import SIMILAR, comparable, near_copies

WORDS = ("card", "lost", "money", "transfer", "account", "abroad", "my", "the", "where", "is", "refund")


def random_texts(count: int, seed: int) -> list[str]:
    """Random sentences, and near-copies of a fifth of them with one more letter."""
    random = np.random.default_rng(seed)
    texts = [" ".join(random.choice(WORDS, random.integers(4, 9))) for _ in range(count)]
    for text in random.choice(texts, count // 5, replace=False):
        place = int(random.integers(len(text)))
        texts.append(text[:place] + "x" + text[place:])
    return list(dict.fromkeys(texts))


def shingles(text: str) -> set[str]:
    return {text[start : start + 3] for start in range(max(1, len(text) - 2))}


def test_the_pairs_are_nearly_those_that_a_comparison_of_all_pairs_finds() -> None:
    texts = random_texts(300, 0)
    expected = {}
    for i, j in combinations(range(len(texts)), 2):
        one, other = shingles(texts[i]), shingles(texts[j])
        similarity = len(one & other) / len(one | other)
        if similarity >= SIMILAR:
            expected[i, j] = similarity
    pairs, similarity = near_copies(texts)
    found = dict(zip(map(tuple, pairs.tolist()), similarity.tolist(), strict=True))
    assert len(expected) > 50
    assert found.keys() <= expected.keys()
    assert len(found) > 0.95 * len(expected)
    assert all(found[pair] == pytest.approx(expected[pair]) for pair in found)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Where is my card?", "where is  my card"),
        ("Ｃａｒｄ lost", "card lost!"),
        (unicodedata.normalize("NFD", "Crédit refusé"), "crédit refusé"),
        ("my\u200b card", "my card"),
        ("???", " ??? "),
    ],
)
def test_case_blanks_punctuation_and_unicode_forms_make_no_difference(one: str, other: str) -> None:
    assert comparable(one) == comparable(other) != ""


def test_a_changed_word_is_another_text_and_a_changed_letter_is_not() -> None:
    texts = ["my card payment was declined", "my card payment was reverted", "my card payment was declind"]
    pairs, _ = near_copies(texts)
    assert pairs.tolist() == [[0, 2]]


@given(st.lists(st.text(max_size=12), max_size=8, unique=True))
def test_any_texts_can_be_compared(texts: list[str]) -> None:
    pairs, similarity = near_copies([comparable(text) for text in texts])
    assert len(pairs) == len(similarity)
    assert (pairs[:, 0] < pairs[:, 1]).all()
