from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tokensieve.base import load_encoder, load_tokenizer
from tokensieve.constructs import Construct, mine
from tokensieve.errors import InputError
from tokensieve.vocabulary import additions, extend, grow

Texts = tuple[list[str], list[str]]


def construct(text: str, information: float = 1.0, texts: int = 1) -> Construct:
    return Construct(text, "label", information, information, texts)


def pieces(tokenizer: Any, text: str) -> list[str]:
    return tokenizer.tokenize(text)


@pytest.fixture
def added(tiny_model: Path) -> dict[str, list[int]]:
    return additions(load_tokenizer(tiny_model), [construct("topup"), construct("refunds")], 10)


def test_split_words_are_ranked_by_information_texts_and_tokens_saved(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    assert [len(pieces(tokenizer, word)) for word in ("topup", "refunds", "xyz")] == [2, 3, 3]
    # Information times texts times tokens saved: 0.5 x 6 x 2, 0.5 x 10 x 1, 2 x 1 x 2.
    found = additions(tokenizer, [construct("xyz", 2.0, 1), construct("topup", 0.5, 10), construct("refunds", 0.5, 6)], 10)
    assert list(found) == ["refunds", "topup", "xyz"]
    assert found["refunds"] == tokenizer.convert_tokens_to_ids(["ref", "##und", "##s"])
    assert list(additions(tokenizer, [construct("topup", 0.5, 10), construct("refunds", 0.5, 6)], 1)) == ["refunds"]


@pytest.mark.parametrize("text", ["card", "lost card", "[CLS]", "it's", "漢字", "\u0301", "größe漢"])
def test_words_that_need_no_token_or_cannot_have_one_are_passed_over(tiny_model: Path, text: str) -> None:
    assert additions(load_tokenizer(tiny_model), [construct(text)], 10) == {}


def test_a_word_is_added_as_the_tokenizer_sees_it(tiny_model: Path) -> None:
    assert list(additions(load_tokenizer(tiny_model), [construct("réfunds")], 10)) == ["refunds"]


def test_a_new_token_is_one_token_and_begins_longer_words(tiny_model: Path, added: dict[str, list[int]], tmp_path: Path) -> None:
    before = load_tokenizer(tiny_model)
    after = extend(before, added, tmp_path)
    assert pieces(before, "topup topups") == ["top", "##up", "top", "##up", "##s"]
    assert pieces(after, "topup topups Topup, refunds") == ["topup", "topup", "##s", "topup", ",", "refunds"]
    encoded = after("My topup", return_offsets_mapping=True)
    assert after.convert_ids_to_tokens(encoded["input_ids"]) == ["[CLS]", "my", "topup", "[SEP]"]
    assert encoded["offset_mapping"] == [(0, 0), (0, 2), (3, 8), (0, 0)]


def test_ids_go_on_without_a_gap_and_old_ones_stay(tiny_model: Path, added: dict[str, list[int]], tmp_path: Path) -> None:
    before = load_tokenizer(tiny_model).get_vocab()
    after = extend(load_tokenizer(tiny_model), added, tmp_path).get_vocab()
    assert sorted(after.values()) == list(range(len(before) + 2))
    assert {word: after[word] for word in added} == {word: len(before) + i for i, word in enumerate(added)}
    assert {word: place for word, place in after.items() if word not in added} == before


def test_other_texts_are_tokenized_as_before(tiny_model: Path, tiny_texts: Texts, tmp_path: Path) -> None:
    texts, labels = tiny_texts
    before = load_tokenizer(tiny_model)
    added = additions(before, mine(texts, labels, most=200), 3)
    after = extend(before, added, tmp_path)
    assert len(added) == 3
    others = [text for text in texts if not any(word in text.lower() for word in added)]
    assert 10 < len(others) < len(texts)
    assert before(others)["input_ids"] == after(others)["input_ids"]
    assert sum(map(len, after(texts)["input_ids"])) < sum(map(len, before(texts)["input_ids"]))


@pytest.mark.parametrize("family", ["bert", "mpnet", "roberta", "qwen2"])
def test_extending_by_nothing_leaves_the_tokenizer_as_it_is(
    tiny_family: Callable[[str], Path], tiny_texts: Texts, tmp_path: Path, family: str
) -> None:
    before = load_tokenizer(tiny_family(family))
    after = extend(before, {}, tmp_path)
    assert after.get_vocab() == before.get_vocab()
    assert after(tiny_texts[0])["input_ids"] == before(tiny_texts[0])["input_ids"]
    encoder = load_encoder(tiny_family(family))
    rows = encoder.get_input_embeddings().weight.clone()
    grow(encoder, tmp_path)
    assert torch.equal(encoder.get_input_embeddings().weight, rows)


@pytest.mark.parametrize("family", ["roberta", "qwen2"])
def test_a_byte_pair_tokenizer_is_refused_by_name(tiny_family: Callable[[str], Path], tmp_path: Path, family: str) -> None:
    tokenizer = load_tokenizer(tiny_family(family))
    added = additions(tokenizer, [construct("topup")], 5)
    assert list(added) == ["topup"]
    with pytest.raises(InputError, match=r"vocabulary\.extend is 1, but the base model's tokenizer is BPE; .* set vocabulary\.extend=0"):
        extend(tokenizer, added, tmp_path)


def test_a_tokenizer_that_does_not_split_words_first_is_refused_by_name(tiny_family: Callable[[str], Path], tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_family("roberta"))
    tokenizer.backend_tokenizer.pre_tokenizer = None
    with pytest.raises(InputError, match="the base model's tokenizer is BPE"):
        extend(tokenizer, additions(tokenizer, [construct("topup")], 5), tmp_path)


@pytest.mark.parametrize("family", ["bert", "mpnet", "distilbert"])
def test_new_rows_are_the_mean_of_their_pieces_and_old_rows_stay(tiny_family: Callable[[str], Path], tmp_path: Path, family: str) -> None:
    tokenizer = load_tokenizer(tiny_family(family))
    added = additions(tokenizer, [construct("topup"), construct("refunds")], 10)
    after = extend(tokenizer, added, tmp_path)
    encoder = load_encoder(tiny_family(family))
    before = encoder.get_input_embeddings().weight.detach().clone()
    grow(encoder, tmp_path)
    rows = encoder.get_input_embeddings().weight.detach()
    assert encoder.config.vocab_size == len(rows) == len(before) + 2
    assert torch.equal(rows[: len(before)], before)
    for word, ids in added.items():
        expected = sum(before[i] for i in ids) / len(ids)
        torch.testing.assert_close(rows[after.get_vocab()[word]], expected)


def test_the_pieces_stand_beside_the_tokenizer(tiny_model: Path, added: dict[str, list[int]], tmp_path: Path) -> None:
    extend(load_tokenizer(tiny_model), added, tmp_path)
    assert json.loads((tmp_path / "pieces.json").read_text(encoding="utf-8")) == added
    assert not (tmp_path / "vocab.txt").exists()
