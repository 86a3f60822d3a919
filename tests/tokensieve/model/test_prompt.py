"""A prompt is in front of every text: the tokens are those of the prompt and the text together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, processors

from tokensieve.errors import InputError
from tokensieve.inference.predictor import load_tokenizer as load_served
from tokensieve.inference.prompt import MARKER, prompt_of
from tokensieve.method.constructs import Construct, construct_positions
from tokensieve.method.vocabulary import choose_new_tokens, extend_tokenizer
from tokensieve.model.batches import token_counts, token_offsets, tokenize
from tokensieve.model.encoder import load_base_tokenizer, load_tokenizer
from tokensieve.model.encoder_check import check_base
from tokensieve.model.prompt import FACTS, add_prompt, choose_prompt, prompt_note
from tokensieve.settings import Settings

Texts = tuple[list[str], list[str]]
PROMPT = "my card: "


@pytest.fixture
def copied(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def declare(folder: Path, prompts: Any, default: Any = None) -> None:
    tree = {"prompts": prompts, "default_prompt_name": default}
    (folder / FACTS).write_text(json.dumps(tree), encoding="utf-8")


def refusal(folder: Path, prompt: str = "auto", **base: Any) -> str:
    chosen = {"model": str(folder), "max_length": 32, "prompt": prompt} | base
    with pytest.raises(InputError) as raised:
        check_base(folder, Settings.of({"base": chosen}))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_tokens_are_those_of_prompt_and_text_in_training_and_in_serving(
    tiny_family: Callable[[str], Path], tiny_texts: Texts, tmp_path: Path, family: str
) -> None:
    texts = tiny_texts[0]
    plain = load_tokenizer(tiny_family(family))
    extend_tokenizer(load_base_tokenizer(tiny_family(family), PROMPT), {}, tmp_path)
    loaded = load_tokenizer(tmp_path)
    expected = tokenize(plain, [PROMPT + text for text in texts], 64)
    assert tokenize(loaded, texts, 64) == expected
    assert token_counts(loaded, texts) == [len(ids) for ids in expected]
    path = tmp_path / "tokenizer.json"
    served = load_served(path, path.read_bytes(), 64)
    assert [encoding.ids for encoding in served.encode_batch(texts)] == expected
    assert prompt_of(path.read_bytes()) == PROMPT


def test_words_keep_their_places_and_the_prompt_has_none(
    tiny_family: Callable[[str], Path], family: str
) -> None:
    text = "I lost my card"
    loaded = load_base_tokenizer(tiny_family(family), PROMPT)
    added = loaded.num_special_tokens_to_add() - 1  # all but the one at the end
    (spans,) = token_offsets(loaded, [text], 64)
    assert spans[:added] == [(0, 0)] * added
    assert spans[-1] == (0, 0)
    assert spans[added][0] == 0
    assert {character for start, end in spans for character in range(start, end)} >= {
        place for place, character in enumerate(text) if character != " "
    }
    marked = construct_positions(loaded, {0: text}, ["my card"], 2, 64)[0]
    assert not any(marked[:added])
    assert any(marked)


@pytest.mark.parametrize("truncation", ["head", "head_tail"])
def test_the_prompt_is_never_truncated(
    tiny_family: Callable[[str], Path], family: str, truncation: str
) -> None:
    plain, loaded = load_tokenizer(tiny_family(family)), load_base_tokenizer(tiny_family(family), PROMPT)
    start = tokenize(plain, [PROMPT + "a"], 64)[0][: loaded.num_special_tokens_to_add() - 1]
    most = 2 * loaded.num_special_tokens_to_add() + 1
    (ids,) = tokenize(loaded, ["lost card " * 30], most, truncation)
    assert len(ids) == most
    assert ids[: len(start)] == start


def test_the_spans_of_a_roberta_tokenizer_stay_without_spaces(
    tiny_family: Callable[[str], Path],
) -> None:
    tokenizer = load_tokenizer(tiny_family("roberta")).backend_tokenizer
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    before = tokenizer.encode("I lost my card", add_special_tokens=False)
    add_prompt(tokenizer, PROMPT)
    after = tokenizer.encode("I lost my card")
    assert after.tokens[-2] == before.tokens[-1] == "Ġcard"
    assert after.offsets[-2] == before.offsets[-1] == (10, 14)
    assert (0, 1) in after.offsets


def test_new_tokens_and_a_prompt_go_together(tiny_model: Path, tiny_texts: Texts, tmp_path: Path) -> None:
    constructs = [Construct("topup", "topup", 1.0, 1.0, 9)]
    tokenizer = load_base_tokenizer(tiny_model, PROMPT)
    added = choose_new_tokens(tokenizer, constructs, 5)
    loaded = extend_tokenizer(tokenizer, added, tmp_path / "prompt")
    plain = load_tokenizer(tiny_model)
    plain = extend_tokenizer(plain, choose_new_tokens(plain, constructs, 5), tmp_path / "plain")
    assert list(added) == ["topup"]
    assert tokenize(loaded, tiny_texts[0], 64) == tokenize(plain, [PROMPT + t for t in tiny_texts[0]], 64)


def test_a_tokenizer_without_special_tokens_gets_a_prompt(tiny_family: Callable[[str], Path]) -> None:
    tokenizer = load_tokenizer(tiny_family("qwen2")).backend_tokenizer
    tokenizer.post_processor = None
    plain = Tokenizer.from_str(tokenizer.to_str())
    add_prompt(tokenizer, PROMPT)
    assert tokenizer.encode("lost").ids == plain.encode(f"{PROMPT}lost").ids
    assert tokenizer.encode("").ids == plain.encode(PROMPT.rstrip()).ids


@pytest.mark.parametrize(
    ("prompts", "default", "wanted", "chosen"),
    [
        ({"query": "query: ", "document": "passage: "}, "query", "auto", "query: "),
        ({"query": "query: "}, None, "auto", ""),
        ({"query": ""}, "query", "auto", ""),
        (None, None, "auto", ""),
        ({"query": "query: "}, "query", "none", ""),
        ({"query": "query: "}, "query", "passage: ", "passage: "),
    ],
)
def test_the_prompt_is_the_models_own_or_that_of_the_setting(
    tmp_path: Path, prompts: Any, default: Any, wanted: str, chosen: str
) -> None:
    declare(tmp_path, prompts, default)
    assert choose_prompt(tmp_path, wanted) == chosen


def test_a_model_without_prompts_keeps_its_tokenizer(tiny_model: Path) -> None:
    assert choose_prompt(tiny_model, "auto") == ""
    plain = load_tokenizer(tiny_model).backend_tokenizer.to_str()
    for wanted in ("auto", "none"):
        assert load_base_tokenizer(tiny_model, wanted).backend_tokenizer.to_str() == plain
    assert MARKER not in plain


def test_what_sentence_transformers_writes_is_read(copied: Path, tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers")
    model = library.SentenceTransformer(
        str(copied), prompts={"query": PROMPT}, default_prompt_name="query", device="cpu"
    )
    model.save(str(tmp_path / "saved"))
    assert choose_prompt(tmp_path / "saved", "auto") == PROMPT
    theirs = model.tokenize([PROMPT + "I lost my card"])["input_ids"][0].tolist()
    assert tokenize(load_base_tokenizer(tmp_path / "saved", "auto"), ["I lost my card"], 64) == [theirs]


def test_a_note_names_the_prompt_that_is_used_or_left_out(tmp_path: Path) -> None:
    assert prompt_note(tmp_path, "auto", "") == ""
    assert prompt_note(tmp_path, "auto", "query: ").startswith("the prompt 'query: ', from an earlier train")
    declare(tmp_path, {"query": "query: ", "document": "passage: ", "other": ""}, "query")
    note = prompt_note(tmp_path, "auto", "query: ")
    assert note.startswith("the base model's default prompt 'query: ' is put in front")
    assert prompt_note(tmp_path, "none", "") == prompt_note(tmp_path, "query: ", "query: ") == ""
    declare(tmp_path, {"query": "query: ", "document": "passage: ", "other": ""})
    assert "none is used: 'query: ' (query), 'passage: ' (document); set" in prompt_note(tmp_path, "auto", "")
    declare(tmp_path, {"other": ""}, "other")
    assert prompt_note(tmp_path, "auto", "") == ""


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ("{", "cannot be read ("),
        ("[]", "cannot be read ("),
        ('{"prompts": {"query": 5}, "default_prompt_name": "query"}', "has a prompt that is not text"),
        ('{"prompts": {}, "default_prompt_name": "query"}', "has no prompt named 'query', its default"),
    ],
)
def test_damaged_files_are_refused(copied: Path, tree: str, words: str) -> None:
    (copied / FACTS).write_text(tree, encoding="utf-8")
    assert f"{FACTS} {words}" in refusal(copied)
    assert check_base(copied, Settings.of({"base": {"max_length": 32, "prompt": "none"}}))


def test_a_prompt_that_joins_the_text_is_refused(copied: Path) -> None:
    message = refusal(copied, "query")
    assert message.startswith("base.prompt is 'query', and the tokenizer of base.model would join its end")
    assert message.endswith("end it with a space, or set base.prompt=none")
    assert check_base(copied, Settings.of({"base": {"max_length": 32, "prompt": "query "}}))


def test_a_prompt_without_tokens_is_refused(copied: Path) -> None:
    message = refusal(copied, "\u200b")
    assert message == (
        "base.prompt is '\\u200b', which has no tokens for the tokenizer of base.model; set a text such as "
        '"query: ", or base.prompt=none'
    )


def test_a_prompt_that_joins_the_text_in_spite_of_a_space_gets_no_advice_to_end_it_with_one(
    tiny_family: Callable[[str], Path],
) -> None:
    tokenizer = load_tokenizer(tiny_family("roberta")).backend_tokenizer
    tree = json.loads(tokenizer.to_str())
    tree["pre_tokenizer"]["use_regex"] = False  # now a token may have the end of a word and a space
    for first, second in (("d", "Ġ"), ("Ġ", "h")):  # the second merge comes before the first
        tree["model"]["vocab"].setdefault(first + second, len(tree["model"]["vocab"]))
        tree["model"]["merges"].insert(0, [first, second])
    with pytest.raises(InputError, match=r"of a text; choose another text, or set base\.prompt=none"):
        add_prompt(Tokenizer.from_str(json.dumps(tree)), "lost card ")


def test_a_byte_level_tokenizer_joins_a_mark_with_the_text(tiny_family: Callable[[str], Path]) -> None:
    tokenizer = load_tokenizer(tiny_family("roberta")).backend_tokenizer
    tree = json.loads(tokenizer.to_str())
    tree["model"]["vocab"][":)"] = len(tree["model"]["vocab"])
    tree["model"]["merges"].append([":", ")"])
    merging = Tokenizer.from_str(json.dumps(tree))
    with pytest.raises(InputError, match="would join its end with the beginning of a text"):
        add_prompt(merging, "my card:")
    add_prompt(merging, "my card: ")


def test_a_prompt_takes_less_than_half_of_the_length(copied: Path) -> None:
    tokens = load_base_tokenizer(copied, PROMPT).num_special_tokens_to_add()
    message = refusal(copied, PROMPT, max_length=2 * tokens)
    assert f"are {tokens} of base.max_length={2 * tokens} tokens, and must be less than half" in message
    assert message.endswith(f"; set base.max_length={2 * tokens + 1}, or shorten the prompt")
    settings = Settings.of({"base": {"max_length": 2 * tokens + 1, "prompt": PROMPT}})
    assert check_base(copied, settings).tokenizer.num_special_tokens_to_add() == tokens
    # The model has 64 positions.
    assert refusal(copied, 32 * "my card ").endswith("less than half of them; shorten the prompt")


def test_a_pooling_without_the_prompt_is_refused_unless_one_is_set(copied: Path) -> None:
    (copied / "1_Pooling").mkdir()
    path = copied / "1_Pooling" / "config.json"
    for mode, is_refused in (("mean", True), ("cls", False)):
        path.write_text(json.dumps({"pooling_mode": mode, "include_prompt": False}), encoding="utf-8")
        check_base(copied, Settings.of({"base": {"max_length": 32}}))
        if is_refused:
            assert "(include_prompt in 1_Pooling/config.json), which is not supp" in refusal(copied, PROMPT)
        chosen = {"max_length": 32, "prompt": PROMPT, "pooling": "mean" if is_refused else "auto"}
        check_base(copied, Settings.of({"base": chosen}))


def test_a_model_that_was_trained_with_a_prompt_keeps_it(copied: Path, tmp_path: Path) -> None:
    extend_tokenizer(load_base_tokenizer(copied, PROMPT), {}, copied)
    expected = tokenize(load_tokenizer(copied), ["lost"], 32)
    for same in ("auto", PROMPT):
        assert tokenize(load_base_tokenizer(copied, same), ["lost"], 32) == expected
    for other in ("query: ", "none"):
        message = refusal(copied, other)
        assert "has the prompt 'my card: ' from an earlier training" in message
        assert message.endswith("set base.prompt=auto, which keeps it")
    declare(copied, {"query": "query: "}, "query")
    assert tokenize(load_base_tokenizer(copied, "auto"), ["lost"], 32) == expected
    tokens = load_tokenizer(copied).num_special_tokens_to_add()
    message = refusal(copied, max_length=2 * tokens)
    assert message.startswith(f"base.prompt 'my card: ' and the special tokens are {tokens}")
