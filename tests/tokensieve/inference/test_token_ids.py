"""A part of a text gives the same token ids as the whole text, for each kind of tokenizer."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, processors, trainers

from tokensieve.data.normalize import is_blank
from tokensieve.inference import token_ids as module
from tokensieve.inference.cut_points import EXPRESSIONS, find_cut_points
from tokensieve.inference.token_ids import BoundedTokenizer, TokenIds, replace_surrogates
from tokensieve.method.constructs import Construct
from tokensieve.method.vocabulary import choose_new_tokens, extend_tokenizer
from tokensieve.model.encoder import load_tokenizer
from tokensieve.model.prompt import add_prompt
from tokensieve.truncation import HEAD, HEAD_TAIL, head_and_tail

CORPUS = [
    "the topup of my card failed, please refund it! where is my order 12345?",
    "über größer straße naïve café ждать перевод денег слово 12 000,50 €",
    "it's what I'd call a well-known problem: e-mail me@example.com (or call 555-0199)",
    "カードを失くしました。 我的卡丢了，请帮忙！ 请帮忙 카드를 잃어버렸어요 कार्ड खो गया है",
    "line one\nline two\r\n\ttabbed  two spaces   three",
]
# Pieces that are hard at a cut: runs of spaces, marks that combine, letters that join, surrogates,
# added tokens.
SPACES = (" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "▁", " ▁", "▁▁", "Ġ")
MARKS = (
    ".",
    ",",
    "...",
    "?!",
    "'s",
    "'ll",
    "’s",
    "-",
    "_",
    "''",
    "``",
    "[SEP]",
    "</s>",
    "<s>",
    "<mask>",
    "[CLS]",
    " topup",
    "cardtopup",
)
LETTERS = (
    "e\u0301",
    "\u0301",
    "ﬁ",
    "ſ",
    "İ",
    "ς",
    "Σ",
    "ß",
    "½",
    "①",
    "㎏",
    "\ufb2a",
    "\u0e33",
    "\u0eb3",
    "\u0d4e",
    "\ufe70",
    "\u037a",
)
OTHERS = (
    "\uff9e",
    "한",
    "\u1161",
    "中",
    "文",
    "क्षि",
    "🙂",
    "\ud83d",
    "\ude00",
    "\0",
    "\u200b",
    "\u200d",
    "0",
    "12345",
    "1,234.56",
    "a",
    "Z",
)
HARD = [*SPACES, *MARKS, *LETTERS, *OTHERS, "card", "topups", "unknownword", "x" * 120, "ab" * 8]
WORDS = " ".join(CORPUS).split(" ")
PART = st.one_of(
    st.sampled_from(HARD),
    st.sampled_from(WORDS),
    st.lists(st.sampled_from(WORDS), min_size=8, max_size=8).map(" ".join),
    st.text(max_size=3),
)
TEXT = st.tuples(st.lists(PART, max_size=30), st.sampled_from(["", " ", " "])).map(
    lambda drawn: drawn[1].join(drawn[0])
)

Tokenizer = tokenizers.Tokenizer


def wordpiece(**options: bool) -> Tokenizer:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789üßñéждатьслово中文"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    pieces = [
        *special,
        "card",
        "the",
        "top",
        "my",
        *letters,
        *(f"##{letter}" for letter in letters),
        "##up",
        *".,?!-",
    ]
    vocabulary = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**options)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.add_special_tokens(special)
    return tokenizer


def trained(model: str, normalizer: object, pre_tokenizer: object, **added: object) -> Tokenizer:
    kinds = {
        "BPE": (models.BPE(unk_token="<unk>", fuse_unk=True), trainers.BpeTrainer, {}),
        "bytes": (
            models.BPE(),
            trainers.BpeTrainer,
            {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()},
        ),
        "Unigram": (models.Unigram(), trainers.UnigramTrainer, {"unk_token": "<unk>"}),
    }
    kind, trainer, options = kinds[model]
    tokenizer = Tokenizer(kind)
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    special = ["<s>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(
        CORPUS * 3, trainer(vocab_size=400, special_tokens=special, show_progress=False, **options)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    tokenizer.add_tokens(
        [AddedToken("topup", single_word=True), AddedToken("refund", rstrip=True, normalized=True)]
    )
    return tokenizer


def sequence(*parts: object) -> object:
    return (
        normalizers.Sequence(list(parts))
        if isinstance(parts[0], normalizers.Normalizer)
        else pre_tokenizers.Sequence(list(parts))
    )


def regex(place: int) -> object:
    return sequence(
        pre_tokenizers.Split(Regex(EXPRESSIONS[place]), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    )


def llama() -> Tokenizer:
    """A model that reads a text as one word, in which no token holds a space but at its
    beginning.
    """
    made = trained("BPE", None, pre_tokenizers.Metaspace())
    tree = json.loads(made.to_str())
    tree["pre_tokenizer"] = None
    tree["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ],
    }
    return Tokenizer.from_str(json.dumps(tree))


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "BERT uncased": wordpiece,
    "BERT cased": lambda: wordpiece(lowercase=False, strip_accents=False, handle_chinese_chars=False),
    "GPT-2": lambda: trained("bytes", None, pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "RoBERTa": lambda: trained("bytes", normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "Qwen2": lambda: trained("bytes", normalizers.NFC(), regex(1)),
    "Llama 3": lambda: trained("bytes", None, regex(2)),
    "Llama 2": llama,
    "XLM-R": lambda: trained(
        "Unigram",
        sequence(normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")),
        sequence(pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()),
    ),
    "T5": lambda: trained(
        "Unigram", sequence(normalizers.Nmt(), normalizers.NFKC()), pre_tokenizers.Metaspace()
    ),
    "stripped": lambda: trained(
        "BPE", sequence(normalizers.Strip(), normalizers.Lowercase()), pre_tokenizers.Whitespace()
    ),
    "digits": lambda: trained(
        "BPE",
        None,
        sequence(pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.BertPreTokenizer()),
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return KINDS[request.param]()


def whole(tokenizer: Tokenizer, text: str, most: int, truncation: str) -> TokenIds:
    """The reference: all of a text is tokenized."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if truncation == HEAD:
        tokenizer.enable_truncation(most)
        encoding = tokenizer.encode(text)
        return TokenIds(encoding.ids or [0], bool(encoding.overflowing), is_blank(text))
    tokenizer.no_truncation()
    ids = tokenizer.encode(text).ids
    return TokenIds(head_and_tail(ids, most) or [0], len(ids) > most, is_blank(text))


@pytest.mark.parametrize("truncation", [HEAD, HEAD_TAIL])
def test_a_part_gives_the_ids_of_the_whole(
    tokenizer: Tokenizer, truncation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHARACTERS", 1)
    monkeypatch.setattr(module, "GROWTH", 2)
    assert find_cut_points(tokenizer) is not None
    cut = []

    @settings(max_examples=60, deadline=None)
    @given(texts=st.lists(TEXT, min_size=1, max_size=3), most=st.integers(4, 24))
    @example(texts=["card " * 100, "", "my card. " * 30], most=8)
    def check(texts: list[str], most: int) -> None:
        expected = [whole(tokenizer, text, most, truncation) for text in texts]
        reader = BoundedTokenizer(tokenizer, most, truncation)
        assert reader.tokenize(texts) == expected
        cut.extend(len(reader._start(text, most)) < len(text) for text in texts)

    check()
    assert sum(cut) > 20


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_is_in_front_of_each_text_and_of_its_parts(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHARACTERS", 1)
    monkeypatch.setattr(module, "GROWTH", 2)
    tokenizer = KINDS[kind]()
    plain = Tokenizer.from_str(tokenizer.to_str())
    add_prompt(tokenizer, "the card: ")
    assert find_cut_points(tokenizer) is not None

    @settings(max_examples=20, deadline=None)
    @given(text=TEXT, most=st.integers(24, 40), truncation=st.sampled_from([HEAD, HEAD_TAIL]))
    @example(text="card " * 100, most=24, truncation=HEAD_TAIL)
    def check(text: str, most: int, truncation: str) -> None:
        read = BoundedTokenizer(tokenizer, most, truncation)
        expected = whole(tokenizer, text, most, truncation)
        assert read.tokenize([text]) == [expected]
        clean = replace_surrogates(text)
        assert read.tokenize_with_spans(clean)[0] == expected
        # Other beginnings may join the prompt: spaces, what becomes a space, added tokens.
        if re.match(r"(?!topup|refund)[A-Za-z0-9.,?!(-]", clean):
            assert expected == whole(plain, f"the card: {text}", most, truncation)

    check()


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("truncation", [HEAD, HEAD_TAIL])
def test_an_extended_vocabulary(
    family: str,
    truncation: str,
    tiny_family: Callable[[str], Path],
    tiny_texts: tuple[list[str], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CHARACTERS", 1)
    fast = load_tokenizer(tiny_family(family))
    constructs = [Construct(word, "topup", 1.0, 1.0, 9) for word in ("topup", "refund", "parcel", "tracking")]
    tokenizer = extend_tokenizer(fast, choose_new_tokens(fast, constructs, 20), tmp_path).backend_tokenizer
    assert find_cut_points(tokenizer) is not None

    @settings(max_examples=60, deadline=None)
    @given(
        text=TEXT | st.lists(st.sampled_from(tiny_texts[0]), max_size=30).map(" ".join),
        most=st.integers(4, 24),
    )
    def check(text: str, most: int) -> None:
        expected = whole(tokenizer, text, most, truncation)
        assert BoundedTokenizer(tokenizer, most, truncation).tokenize([text]) == [expected]

    check()


@pytest.mark.parametrize(
    "changed",
    [
        {
            "pre_tokenizer": {
                "type": "Split",
                "pattern": {"Regex": "[^,]+,?"},
                "behavior": "Isolated",
                "invert": False,
            }
        },
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "a b"}, "content": "c"}},
        {"normalizer": {"type": "Replace", "pattern": {"String": "a b"}, "content": "c"}},
        {"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": ""}},
        {"pre_tokenizer": None},
        {"pre_tokenizer": {"type": "FixedLength", "length": 3}},
    ],
)
def test_an_unknown_tokenizer_is_not_cut(changed: dict[str, object]) -> None:
    tree = json.loads(wordpiece().to_str()) | changed
    assert find_cut_points(Tokenizer.from_str(json.dumps(tree))) is None


def test_an_added_token_of_several_words_is_not_cut() -> None:
    tokenizer = wordpiece()
    tokenizer.add_tokens(["credit card"])
    assert find_cut_points(tokenizer) is None


def test_marks_of_added_tokens_are_no_boundaries() -> None:
    boundaries = find_cut_points(wordpiece())
    assert boundaries is not None
    assert "]" not in boundaries.marks
    assert "." in boundaries.marks


@pytest.mark.parametrize("truncation", [HEAD, HEAD_TAIL])
def test_memory_does_not_grow_with_the_text(truncation: str) -> None:
    tokenizer = wordpiece()
    if truncation == HEAD:
        tokenizer.enable_truncation(128)
    lengths = []
    reader = BoundedTokenizer(tokenizer, 128, truncation)
    reader.tokenize(["my card"])
    for text in ("my card " * 2_000, "my card " * 2_000_000):
        tracemalloc.start()
        (tokens,) = reader.tokenize([text])
        lengths.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert tokens.truncated
        assert len(tokens.ids) == 128
    assert lengths[1] < 2 * lengths[0] + 100_000
