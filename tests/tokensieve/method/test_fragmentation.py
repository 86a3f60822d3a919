"""How a tokenizer divides constructs, for tokenizers of each kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tokensieve.method.constructs import Construct
from tokensieve.method.fragmentation import Fragmentation, measure_fragmentation
from tokensieve.model.encoder import load_tokenizer


def construct(text: str, texts: int = 2) -> Construct:
    return Construct(text, "label", 1.0, 1.0, texts)


@pytest.mark.parametrize("family", ["bert", "roberta", "qwen2", "llama"])
def test_words_are_counted_as_they_are_divided_within_a_text(
    tiny_family: Callable[[str], Path], family: str
) -> None:
    tokenizer = load_tokenizer(tiny_family(family))
    # Texts at whose beginning some of these tokenizers divide "card", and within which they do not.
    pieces = {word: len(tokenizer.tokenize(f"a {word}")) - 1 for word in ("card", "zyxwv")}
    assert pieces["zyxwv"] > pieces["card"]
    found = measure_fragmentation(tokenizer, [construct("card", 5), construct("zyxwv", 3)])
    assert found == Fragmentation(
        words=2,
        divided=sum(count > 1 for count in pieces.values()) / 2,
        unknown=0.0,
        tokens_per_word=sum(pieces.values()) / 2,
        excess_tokens=5 * (pieces["card"] - 1) + 3 * (pieces["zyxwv"] - 1),
    )


def test_phrases_do_not_count(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    assert measure_fragmentation(tokenizer, [construct("my topup")]) == Fragmentation(0, 0.0, 0.0, 0.0, 0)
    assert measure_fragmentation(tokenizer, []) == Fragmentation(0, 0.0, 0.0, 0.0, 0)


def test_an_unknown_word_is_one_token(tiny_model: Path) -> None:
    found = measure_fragmentation(load_tokenizer(tiny_model), [construct("कार्ड"), construct("card")])
    assert (found.divided, found.unknown, found.tokens_per_word) == (0.0, 0.5, 1.0)


def test_a_word_of_a_script_without_spaces_gets_no_space_before_it() -> None:
    pieces = {"<unk>": 0.0, "▁": -1.0, "a": -1.0, ".": -1.0, "▁a": -2.0, "款": -3.0, "卡": -3.0, "退": -3.0}
    tokenizer = Tokenizer(models.Unigram(list(pieces.items()), unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    loaded = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
    assert loaded.tokenize("a 卡") == ["▁a", "▁", "卡"]
    assert measure_fragmentation(loaded, [construct("卡"), construct("退")]).tokens_per_word == 1.0
