from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BertTokenizerFast,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

from tokensieve.errors import InputError
from tokensieve.method.constructs import Construct, rank_constructs
from tokensieve.method.vocabulary import choose_new_tokens, extend_tokenizer
from tokensieve.model.encoder import add_embedding_rows, load_encoder, load_tokenizer

Texts = tuple[list[str], list[str]]


def construct(text: str, information: float = 1.0, texts: int = 1) -> Construct:
    return Construct(text, "label", information, information, texts)


def pieces(tokenizer: Any, text: str) -> list[str]:
    return tokenizer.tokenize(text)


def held(token: str, tokenizer: Any, text: str) -> bool:
    return token.removeprefix("##").removesuffix("</w>") in spelled(tokenizer, text)


def spelled(tokenizer: Any, text: str) -> str:
    """The text in the spelling of the vocabulary, without the places where the tokenizer splits it
    first.
    """
    backend = tokenizer.backend_tokenizer
    normal = backend.normalizer.normalize_str(text) if backend.normalizer else text
    return (
        "".join(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal))
        if backend.pre_tokenizer
        else normal
    )


def trained(
    model: Any, trainer: Any, splitter: Any, texts: Iterable[str], normalizer: Any = None
) -> dict[str, Any]:
    """The `model` of a tokenizer.json, trained on `texts`."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = splitter
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator(texts, trainer)
    return json.loads(tokenizer.to_str())["model"]


def byte_pairs(texts: Iterable[str]) -> dict[str, Any]:
    trainer = trainers.BpeTrainer(
        vocab_size=290, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tree = trained(models.BPE(), trainer, pre_tokenizers.ByteLevel(add_prefix_space=False), texts)
    return {"vocab": tree["vocab"], "merges": [tuple(pair) for pair in tree["merges"]]}


def word_pieces(texts: list[str]) -> Any:
    letters = "abcdefghijklmnopqrstuvwxyz"
    listed = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{letter}" for letter in letters),
        "##up",
        "ca",
        "##rd",
    ]
    return BertTokenizerFast(vocab={piece: place for place, piece in enumerate(listed)})


def roberta(texts: list[str]) -> Any:
    """Its special tokens are outside the model's vocabulary, after it."""
    return RobertaTokenizer(**byte_pairs(texts))


def qwen(texts: list[str]) -> Any:
    tokenizer = Qwen2Tokenizer(**byte_pairs(texts))
    tokenizer.add_tokens([AddedToken("<|tool|>"), AddedToken("<|end|>", special=True)])
    return tokenizer


def modern(texts: list[str]) -> Any:
    """A byte-level tokenizer that is loaded from its file alone, as ModernBERT's and Llama 3's;
    this one prefixes a space.
    """
    tokenizer = Tokenizer(models.BPE(**byte_pairs(texts)))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", mask_token="<mask>")


def llama(texts: list[str]) -> Any:
    """Does not split at spaces, and falls back to bytes."""
    trainer = trainers.BpeTrainer(vocab_size=60, show_progress=False)
    tree = trained(models.BPE(), trainer, pre_tokenizers.Metaspace(), texts)
    listed = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *tree["vocab"]]
    merges = [tuple(pair) for pair in tree["merges"]]
    return LlamaTokenizer(vocab={token: place for place, token in enumerate(listed)}, merges=merges)


def xlm_roberta(texts: list[str]) -> Any:
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=60, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    splitter = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tree = trained(models.Unigram(), trainer, splitter, [text.lower().replace("topup", "") for text in texts])
    return XLMRobertaTokenizer(vocab=[tuple(pair) for pair in tree["vocab"]])


def word_ends(texts: list[str]) -> Any:
    """BPE that marks the ends of words, and the insides."""
    marks: dict[str, Any] = {"continuing_subword_prefix": "##", "end_of_word_suffix": "</w>"}
    trainer = trainers.BpeTrainer(vocab_size=100, special_tokens=["<unk>"], show_progress=False, **marks)
    tree = trained(models.BPE(unk_token="<unk>", **marks), trainer, pre_tokenizers.Whitespace(), texts)
    merges = [tuple(pair) for pair in tree["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=tree["vocab"], merges=merges, unk_token="<unk>", **marks))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


KINDS = {make.__name__: make for make in (word_pieces, roberta, qwen, modern, llama, xlm_roberta, word_ends)}
# Which of them have a token of its own for a word at the beginning of a text.
TWO_FORMS = {"roberta", "qwen"}


@dataclass(frozen=True)
class Saved:
    """A tokenizer of one of KINDS, as loaded from `folder`."""

    kind: str
    folder: Path
    tokenizer: Any


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_texts: Texts) -> Callable[[str], Saved]:
    root, made = tmp_path_factory.mktemp("kinds"), dict[str, Saved]()

    def saved(kind: str) -> Saved:
        if kind not in made:
            KINDS[kind](tiny_texts[0]).save_pretrained(root / kind)
            made[kind] = Saved(kind, root / kind, load_tokenizer(root / kind))
        return made[kind]

    return saved


@pytest.fixture(params=KINDS)
def any_kind(request: pytest.FixtureRequest, folders: Callable[[str], Saved]) -> Saved:
    return folders(request.param)


@pytest.fixture
def added(tiny_model: Path) -> dict[str, list[int]]:
    return choose_new_tokens(load_tokenizer(tiny_model), [construct("topup"), construct("refunds")], 10)


# What is added


def test_split_words_are_ranked_by_information_texts_and_tokens_saved(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    assert [len(pieces(tokenizer, word)) for word in ("topup", "refunds", "xyz")] == [2, 3, 3]
    # Information times texts times tokens saved: 0.5 x 6 x 2, 0.5 x 10 x 1, 2 x 1 x 2.
    found = choose_new_tokens(
        tokenizer, [construct("xyz", 2.0, 1), construct("topup", 0.5, 10), construct("refunds", 0.5, 6)], 10
    )
    assert list(found) == ["refunds", "topup", "xyz"]
    assert found["refunds"] == tokenizer.convert_tokens_to_ids(["ref", "##und", "##s"])
    assert list(
        choose_new_tokens(tokenizer, [construct("topup", 0.5, 10), construct("refunds", 0.5, 6)], 1)
    ) == ["refunds"]


@pytest.mark.parametrize("text", ["card", "lost card", "[CLS]", "it's", "漢字", "\u0301", "größe漢"])
def test_words_that_need_or_can_have_no_token_are_skipped(tiny_model: Path, text: str) -> None:
    assert choose_new_tokens(load_tokenizer(tiny_model), [construct(text)], 10) == {}


@pytest.mark.parametrize(
    ("kind", "text"), [("llama", "größe"), ("xlm_roberta", "漢字"), ("word_ends", "größe"), ("qwen", "2fa")]
)
def test_words_that_the_pieces_do_not_spell_are_passed_over(
    folders: Callable[[str], Saved], kind: str, text: str
) -> None:
    assert choose_new_tokens(folders(kind).tokenizer, [construct(text)], 10) == {}


def test_several_words_are_passed_over_by_every_kind(any_kind: Saved) -> None:
    assert choose_new_tokens(any_kind.tokenizer, [construct("topup limit")], 10) == {}


def test_a_word_is_added_as_the_tokenizer_sees_it(tiny_model: Path, folders: Callable[[str], Saved]) -> None:
    assert list(choose_new_tokens(load_tokenizer(tiny_model), [construct("réfunds")], 10)) == ["refunds"]
    assert list(choose_new_tokens(folders("qwen").tokenizer, [construct("größe")], 100))[-1] == "grÃ¶ÃŁe"


def test_the_form_within_a_text_goes_before_the_one_at_its_beginning(folders: Callable[[str], Saved]) -> None:
    tokenizer = folders("roberta").tokenizer
    found = choose_new_tokens(tokenizer, [construct("topup"), construct("tops", 9.0)], 100)
    assert list(found) == ["Ġtop", "Ġtops", "Ġtopup", "to", "top", "tops", "topup"]


def test_a_word_that_is_whole_within_a_text_gets_no_form_for_the_beginning(
    folders: Callable[[str], Saved],
) -> None:
    tokenizer = folders("roberta").tokenizer
    assert (len(pieces(tokenizer, " my")), len(pieces(tokenizer, "my"))) == (1, 2)
    assert choose_new_tokens(tokenizer, [construct("my")], 10) == {}


@pytest.mark.parametrize("most", range(12))
def test_intermediate_tokens_count(any_kind: Saved, most: int) -> None:
    words = [construct(word) for word in ("topups", "refused", "topup")]
    found, everything = (choose_new_tokens(any_kind.tokenizer, words, limit) for limit in (most, 1000))
    assert len(found) <= most
    assert found.keys() <= everything.keys() or len(everything) > most


# What a new token does


def test_a_new_token_is_one_token_and_begins_longer_words(
    tiny_model: Path, added: dict[str, list[int]], tmp_path: Path
) -> None:
    before = load_tokenizer(tiny_model)
    after = extend_tokenizer(before, added, tmp_path)
    assert pieces(before, "topup topups") == ["top", "##up", "top", "##up", "##s"]
    assert pieces(after, "topup topups Topup, refunds") == ["topup", "topup", "##s", "topup", ",", "refunds"]
    encoded = after("My topup", return_offsets_mapping=True)
    assert after.convert_ids_to_tokens(encoded["input_ids"]) == ["[CLS]", "my", "topup", "[SEP]"]
    assert encoded["offset_mapping"] == [(0, 0), (0, 2), (3, 8), (0, 0)]


def test_a_construct_is_one_token_at_the_beginning_and_after_a_space(any_kind: Saved, tmp_path: Path) -> None:
    before = any_kind.tokenizer
    words = ("topup", "refused", "tototo", "totototo")
    after = extend_tokenizer(
        before, choose_new_tokens(before, [construct(word) for word in words], 100), tmp_path
    )
    for word in words:
        assert len(pieces(before, word)) > 1
        assert len(pieces(after, word)) == 1
        assert len(pieces(after, f"{word} {word}")) == 2
        assert (pieces(after, word) != pieces(after, f"{word} {word}")[1:]) == (any_kind.kind in TWO_FORMS)
    if any_kind.tokenizer.backend_tokenizer.decoder:
        assert (
            after.decode(after("topup refused", add_special_tokens=False)["input_ids"]).strip()
            == "topup refused"
        )


def test_a_longer_word_keeps_its_remaining_pieces(folders: Callable[[str], Saved], tmp_path: Path) -> None:
    before = folders("qwen").tokenizer
    after = extend_tokenizer(before, choose_new_tokens(before, [construct("topup")], 10), tmp_path)
    assert pieces(before, "a topups topupx") == ["a", "Ġto", "p", "up", "s", "Ġto", "p", "up", "x"]
    assert pieces(after, "a topups topupx") == ["a", "Ġtopup", "s", "Ġtopup", "x"]


def test_tokens_in_between_are_new_beginnings_of_the_word(
    folders: Callable[[str], Saved], tmp_path: Path
) -> None:
    before = folders("qwen").tokenizer
    found = choose_new_tokens(before, [construct("topup")], 10)
    place = before.get_vocab()
    assert found == {
        "Ġtop": [place["Ġto"], place["p"]],
        "Ġtopup": [place["Ġto"], place["p"], place["up"]],
        "to": [place["t"], place["o"]],
        "top": [place["t"], place["o"], place["p"]],
        "topup": [place["t"], place["o"], place["p"], place["up"]],
    }
    after = extend_tokenizer(before, found, tmp_path)
    assert pieces(after, "my top toppies to") == ["m", "y", "Ġtop", "Ġtop", "p", "i", "e", "s", "Ġto"]


def test_no_token_in_between_is_an_old_one(tmp_path: Path) -> None:
    listed = ["<|endoftext|>", "Ġ", "a", "b", "c", "d", "bc", "ab", "abc"]
    merges = [("b", "c"), ("a", "b"), ("ab", "c")]
    before = Qwen2Tokenizer(vocab={token: place for place, token in enumerate(listed)}, merges=merges)
    found = choose_new_tokens(before, [construct("abcd")], 10)
    after = extend_tokenizer(before, found, tmp_path)
    # "abc" is listed, but the old merges do not make it: that must stay so.
    assert list(found) == ["Ġa", "Ġabc", "Ġabcd", "bcd", "abcd"]
    assert pieces(after, "abc") == pieces(before, "abc") == ["a", "bc"]
    assert pieces(after, "abcd abcd") == ["abcd", "Ġabcd"]


def test_unknown_token_score_is_unchanged(folders: Callable[[str], Saved], tmp_path: Path) -> None:
    before = folders("xlm_roberta").tokenizer
    extend_tokenizer(before, choose_new_tokens(before, [construct("refusedstreets")], 10), tmp_path)
    old, new = (
        json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
        for folder in (folders("xlm_roberta").folder, tmp_path)
    )
    assert new[-1][0] == "▁refusedstreets"
    # Which `tokenizers` reckons from the lowest score.
    assert min(score for _, score in new) == min(score for _, score in old)


def test_words_that_contain_each_other_are_all_one_token(any_kind: Saved, tmp_path: Path) -> None:
    words = ["upto", "up", "topup", "pup", "topups", "opup", "ups", "topupups"]
    before = any_kind.tokenizer
    for order in (words, words[::-1]):
        ranked = [construct(word, 1000.0 / 10**place) for place, word in enumerate(order)]
        after = extend_tokenizer(before, choose_new_tokens(before, ranked, 1000), tmp_path)
        assert [len(pieces(after, f"a {word}")) for word in words] == [1 + len(pieces(after, "a"))] * len(
            words
        )


LETTERS = st.text("aehoptu", min_size=1, max_size=7)
REAL = ("my", "topups", "are", "not", "refunded", ",", "Topup", "it's", "12", "größe\t漢", "\u0301")
PROSE = st.lists(LETTERS | st.sampled_from(REAL) | st.text(max_size=4))


@given(data=st.data(), words=st.lists(LETTERS, min_size=1, max_size=12, unique=True))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_texts_without_new_tokens_are_as_before_and_new_tokens_are_whole(
    any_kind: Saved, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, words: list[str]
) -> None:
    before = any_kind.tokenizer
    found = choose_new_tokens(before, [construct(word) for word in words], 1000)
    assume(found)
    folder = tmp_path_factory.mktemp("extended")
    after = extend_tokenizer(before, found, folder)
    raw = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    for _ in range(5):
        text = data.draw(st.sampled_from(["", " "])) + " ".join(data.draw(PROSE))
        new = after(text, add_special_tokens=False)["input_ids"]
        assert raw.encode(text, add_special_tokens=False).ids == new
        if not any(held(token, before, text) for token in found):
            assert before(text, add_special_tokens=False)["input_ids"] == new
    old, now = before.backend_tokenizer.model, after.backend_tokenizer.model
    for token, ids in found.items():
        form = token.removesuffix("</w>")
        # Not so for a token in between that stands for other pieces within its word than alone.
        if [piece.id for piece in old.tokenize(form)] == ids:
            assert [piece.value for piece in now.tokenize(form)] == [token]


def test_training_texts_get_fewer_tokens_and_other_texts_do_not_change(
    any_kind: Saved, tiny_texts: Texts, tmp_path: Path
) -> None:
    texts, labels = tiny_texts
    before = any_kind.tokenizer
    found = choose_new_tokens(before, rank_constructs(texts, labels, most=200), 6)
    after = extend_tokenizer(before, found, tmp_path)
    assert 0 < len(found) <= 6
    others = [text for text in texts if not any(held(token, before, text) for token in found)]
    assert before(others)["input_ids"] == after(others)["input_ids"]
    assert sum(map(len, after(texts)["input_ids"])) < sum(map(len, before(texts)["input_ids"]))


# Its position


def test_ids_go_on_without_a_gap_and_old_ones_stay(any_kind: Saved, tmp_path: Path) -> None:
    before = any_kind.tokenizer.get_vocab()
    found = choose_new_tokens(any_kind.tokenizer, [construct("topup"), construct("refused")], 100)
    after = extend_tokenizer(any_kind.tokenizer, found, tmp_path)
    raw = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert (
        after.get_vocab()
        == raw.get_vocab()
        == before | {token: max(before.values()) + 1 + i for i, token in enumerate(found)}
    )
    assert after.special_tokens_map == any_kind.tokenizer.special_tokens_map
    assert sorted(after.get_vocab().values()) == list(range(len(before) + len(found)))


def test_added_tokens_outside_the_model_keep_their_ids(any_kind: Saved, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(any_kind.folder)
    tokenizer.add_tokens([AddedToken("<|first|>"), AddedToken("<|second|>", special=True)])
    text = "refused <|second|> or<|first|>"
    after = extend_tokenizer(tokenizer, choose_new_tokens(tokenizer, [construct("topup")], 10), tmp_path)
    assert after.get_vocab().items() > tokenizer.get_vocab().items()
    assert after(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_an_extended_tokenizer_is_saved_and_loaded_as_it_is(
    any_kind: Saved, tiny_texts: Texts, tmp_path: Path
) -> None:
    found = choose_new_tokens(any_kind.tokenizer, [construct("topup"), construct("refused")], 100)
    once = extend_tokenizer(any_kind.tokenizer, found, tmp_path / "once")
    once.save_pretrained(tmp_path / "twice")
    twice = load_tokenizer(tmp_path / "twice")
    assert type(twice) is type(once) is type(any_kind.tokenizer)
    assert twice.get_vocab() == once.get_vocab()
    assert twice(tiny_texts[0])["input_ids"] == once(tiny_texts[0])["input_ids"]


def test_an_extended_tokenizer_can_be_extended(any_kind: Saved, tmp_path: Path) -> None:
    once = extend_tokenizer(
        any_kind.tokenizer,
        choose_new_tokens(any_kind.tokenizer, [construct("topup")], 100),
        tmp_path / "once",
    )
    assert choose_new_tokens(once, [construct("topup")], 100) == {}
    twice = extend_tokenizer(once, choose_new_tokens(once, [construct("topups")], 100), tmp_path / "twice")
    assert len(pieces(twice, "topup topups")) == 2


@pytest.mark.parametrize("family", ["bert", "mpnet", "roberta", "qwen2"])
def test_extending_by_nothing_leaves_the_tokenizer_as_it_is(
    tiny_family: Callable[[str], Path], tiny_texts: Texts, tmp_path: Path, family: str
) -> None:
    before = load_tokenizer(tiny_family(family))
    after = extend_tokenizer(before, {}, tmp_path)
    assert after.get_vocab() == before.get_vocab()
    assert after(tiny_texts[0])["input_ids"] == before(tiny_texts[0])["input_ids"]
    encoder = load_encoder(tiny_family(family))
    rows = encoder.get_input_embeddings().weight.clone()
    add_embedding_rows(encoder, tmp_path)
    assert torch.equal(encoder.get_input_embeddings().weight, rows)


def test_a_tokenizer_of_whole_words_is_refused_by_name(tmp_path: Path) -> None:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"card": 0, "?": 1}, unk_token="?"))
    )
    message = (
        r"is 5, but .* tokenizer is WordLevel; kinds that can be extended: WordPiece, BPE, Unigram\. "
        r"Set vocabulary\.new_tokens=0"
    )
    with pytest.raises(InputError, match=message):
        choose_new_tokens(tokenizer, [construct("topup")], 5)
    with pytest.raises(InputError, match=message.replace("5", "1")):
        extend_tokenizer(tokenizer, {"topup": [0, 1]}, tmp_path)


def test_pieces_json_is_written_next_to_the_tokenizer(
    tiny_model: Path, added: dict[str, list[int]], tmp_path: Path
) -> None:
    extend_tokenizer(load_tokenizer(tiny_model), added, tmp_path)
    assert json.loads((tmp_path / "pieces.json").read_text(encoding="utf-8")) == added
    assert not (tmp_path / "vocab.txt").exists()


# The rows


def test_new_rows_are_the_mean_of_their_pieces_and_old_rows_stay(
    tiny_family: Callable[[str], Path], tmp_path: Path, family: str
) -> None:
    tokenizer = load_tokenizer(tiny_family(family))
    found = choose_new_tokens(tokenizer, [construct("topup"), construct("refunds")], 100)
    after = extend_tokenizer(tokenizer, found, tmp_path)
    encoder = load_encoder(tiny_family(family))
    before = encoder.get_input_embeddings().weight.detach().clone()
    add_embedding_rows(encoder, tmp_path)
    rows = encoder.get_input_embeddings().weight.detach()
    assert encoder.config.vocab_size == len(rows) == len(before) + len(found)
    assert torch.equal(rows[: len(before)], before)
    for word, ids in found.items():
        expected = sum(before[i] for i in ids) / len(ids)
        torch.testing.assert_close(rows[after.get_vocab()[word]], expected)


@pytest.mark.parametrize("tied", [True, False])
def test_output_embeddings_get_the_same_new_rows(
    tiny_family: Callable[[str], Path], tmp_path: Path, tied: bool
) -> None:
    tokenizer = load_tokenizer(tiny_family("qwen2"))
    found = choose_new_tokens(tokenizer, [construct("topup")], 100)
    after = extend_tokenizer(tokenizer, found, tmp_path)
    model = AutoModelForCausalLM.from_config(
        AutoConfig.from_pretrained(tiny_family("qwen2"), tie_word_embeddings=tied)
    )
    before = model.get_output_embeddings().weight.detach().clone()
    add_embedding_rows(model, tmp_path)
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied
    for embedding in (model.get_input_embeddings(), model.get_output_embeddings()):
        rows = embedding.weight.detach()
        assert len(rows) == len(before) + len(found)
        for token, ids in found.items():
            torch.testing.assert_close(rows[after.get_vocab()[token]], rows[ids].mean(0))
    assert torch.equal(model.get_output_embeddings().weight[: len(before)], before)


@pytest.mark.parametrize("spare", [1, 64])
def test_rows_beyond_the_tokenizer_are_used_first_and_never_dropped(
    tiny_family: Callable[[str], Path], tmp_path: Path, spare: int
) -> None:
    tokenizer = load_tokenizer(tiny_family("qwen2"))
    found = choose_new_tokens(tokenizer, [construct("topup"), construct("refunds")], 100)
    after = extend_tokenizer(tokenizer, found, tmp_path)
    encoder = load_encoder(tiny_family("qwen2"))
    encoder.resize_token_embeddings(len(tokenizer) + spare, mean_resizing=False)
    before = encoder.get_input_embeddings().weight.detach().clone()
    add_embedding_rows(encoder, tmp_path)
    rows = encoder.get_input_embeddings().weight.detach()
    assert encoder.config.vocab_size == len(rows) == len(tokenizer) + max(spare, len(found))
    assert torch.equal(rows[: len(tokenizer)], before[: len(tokenizer)])
    assert torch.equal(rows[len(tokenizer) + len(found) :], before[len(tokenizer) + len(found) :])
    for token, ids in found.items():
        torch.testing.assert_close(rows[after.get_vocab()[token]], before[ids].mean(0))


def test_tokens_that_the_model_has_no_row_for_get_the_same_one_each_time(
    tiny_family: Callable[[str], Path], tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(tiny_family("bert"))
    tokenizer.add_tokens(["<|first|>", "<|second|>"])
    after = extend_tokenizer(tokenizer, choose_new_tokens(tokenizer, [construct("topup")], 100), tmp_path)
    grown = []
    for _ in range(2):
        encoder = load_encoder(tiny_family("bert"))
        add_embedding_rows(encoder, tmp_path)
        grown.append(encoder.get_input_embeddings().weight)
    assert len(grown[0]) == len(after)
    assert torch.equal(*grown)
