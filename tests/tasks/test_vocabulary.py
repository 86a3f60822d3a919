"""The vocabulary stage on a tiny project: the tokenizer that it writes, and its report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.vocabulary import vocabulary
from tokensieve.data.examples import Examples
from tokensieve.files import read_json
from tokensieve.model.batches import tokenize
from tokensieve.model.encoder import load_tokenizer
from tokensieve.project import Layout
from tokensieve.settings import Settings


@pytest.mark.parametrize(
    ("family", "expected"), [("bert", {"topup", "refund"}), ("qwen2", {" street", " parcel"})]
)
def test_the_report_names_new_tokens_as_people_write_them(
    tiny_family: Callable[[str], Path],
    tiny_texts: tuple[list[str], list[str]],
    tmp_path: Path,
    family: str,
    expected: set[str],
) -> None:
    layout = Layout(tmp_path)
    layout.split.mkdir(parents=True)
    Examples.of(*tiny_texts).save(layout.split / "train.jsonl")
    vocabulary(
        layout, Settings.of({"base": {"model": str(tiny_family(family))}, "vocabulary": {"new_tokens": 40}})
    )

    report, before, after = (
        read_json(layout.vocabulary / "report.json"),
        tiny_family(family),
        layout.vocabulary / "tokenizer",
    )
    assert expected <= set(report["added"])
    assert len(report["added"]) == len(load_tokenizer(after)) - len(load_tokenizer(before)) <= 40
    assert report["tokens_after"] < report["tokens_before"]
    assert report["saved"] == round(1 - report["tokens_after"] / report["tokens_before"], 4)


def test_the_report_names_classes_without_words_and_how_words_are_divided(
    tiny_model: Path, tmp_path: Path
) -> None:
    layout = Layout(tmp_path)
    layout.split.mkdir(parents=True)
    texts = ["my card is lost", "card lost", "Rechnungsadresse übermittelt", "Paketzustellung verspätet"]
    Examples.of(texts, ["card", "card", "post", "post"]).save(layout.split / "train.jsonl")
    vocabulary(layout, Settings.of({"base": {"model": str(tiny_model)}}))
    report = read_json(layout.vocabulary / "report.json")
    assert report["without_constructs"] == ["post"]
    assert report["word_pieces"]["words"] == 10
    assert 0.4 <= report["word_pieces"]["divided"] < 1.0
    assert report["tokens_before"] == report["tokens_after"]
    # "card" and "lost" are the only words of two texts, and each is a token.
    assert report["fragmentation"] == {
        "words": 2,
        "divided": 0.0,
        "unknown": 0.0,
        "tokens_per_word": 1.0,
        "excess_tokens": 0,
    }


def test_the_tokenizer_of_the_project_has_the_prompt(
    tiny_model: Path, tiny_texts: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    layout = Layout(tmp_path)
    layout.split.mkdir(parents=True)
    Examples.of(*tiny_texts).save(layout.split / "train.jsonl")
    vocabulary(layout, Settings.of({"base": {"model": str(tiny_model), "prompt": "my card: "}}))
    with_prompt, plain = load_tokenizer(layout.vocabulary / "tokenizer"), load_tokenizer(tiny_model)
    texts = tiny_texts[0]
    assert tokenize(with_prompt, texts, 64) == tokenize(plain, [f"my card: {text}" for text in texts], 64)
    report = read_json(layout.vocabulary / "report.json")
    assert report["tokens_before"] == sum(map(len, tokenize(with_prompt, texts, 64)))
