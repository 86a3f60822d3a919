"""Words and the tokens that a tokenizer makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tokensieve.model.encoder import load_tokenizer
from tokensieve.model.word_pieces import MOST_TEXTS, WordPieces, divided_example, measure_word_pieces

FAMILIES = ("bert", "roberta", "llama")


@pytest.mark.parametrize("family", FAMILIES)
def test_words_of_another_language_are_divided(
    tiny_family: Callable[[str], Path], tiny_texts: tuple[list[str], list[str]], family: str
) -> None:
    tokenizer = load_tokenizer(tiny_family(family))
    known = measure_word_pieces(tokenizer, tiny_texts[0])
    other = measure_word_pieces(tokenizer, ["Rechnungsadresse völlig falsch übermittelt", "कार्ड खो गया"])
    assert other.words == 7
    assert other.divided == 1.0
    assert known.divided < other.divided
    assert known.tokens_per_word < other.tokens_per_word or other.unknown > known.unknown


def test_counts_are_per_word(tiny_family: Callable[[str], Path]) -> None:
    tokenizer = load_tokenizer(tiny_family("bert"))
    pieces = len(tokenizer("topup", add_special_tokens=False)["input_ids"])
    assert pieces > 1
    assert measure_word_pieces(tokenizer, ["my card, my topup!"]) == WordPieces(
        4, 0.25, 0.0, round((3 + pieces) / 4, 2)
    )
    assert measure_word_pieces(tokenizer, ["?!", ""]) == WordPieces(0, 0.0, 0.0, 0.0)
    assert measure_word_pieces(tokenizer, []) == WordPieces(0, 0.0, 0.0, 0.0)
    assert measure_word_pieces(tokenizer, ["my card"] * (MOST_TEXTS + 2)).words == MOST_TEXTS + 2


def test_the_example_is_the_first_word_that_is_divided(tiny_family: Callable[[str], Path]) -> None:
    tokenizer = load_tokenizer(tiny_family("bert"))
    word, pieces = divided_example(tokenizer, ["my", "topup", "topups"])
    assert (word, "".join(pieces)) == ("topup", "topup")
    assert divided_example(tokenizer, ["卡", "topup"]) == ("卡", ["[UNK]"])
    assert divided_example(tokenizer, ["my", "card"]) == ("", [])
