"""HTML is stripped by one function, in training and in serving."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokensieve.cleaning import count_markup, strip_html
from tokensieve.data.raw_data import find_part_files, read_raw, read_raw_once
from tokensieve.inference.explain import explain
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.predictor import Predictor
from tokensieve.settings import Data

MAIL = "<p>where is&nbsp;<b>my</b> card</p><br>send &lt;money&gt;"
CLEAN = "where is my card\nsend <money>"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (MAIL, CLEAN),
        ("plain  text\n\n as it is", "plain  text\n\n as it is"),
        ("tom & jerry, AT&T", "tom & jerry, AT&T"),
        ("a < b, c > d, <3 you", "a < b, c > d, <3 you"),
        ("Ann <ann@example.org>", "Ann <ann@example.org>"),
        ("<unknown x=1>a</unknown>", "<unknown x=1>a</unknown>"),
        ("<!-- c -->a<!DOCTYPE html><?php b ?>", "a"),
        ("<style>p{}</style>a<script>f('<b>')</script>b<title>t</title>", "ab"),
        ('<IMG alt="x" src=y/>a<BR/>b', "a\nb"),
        ("&amp;amp;lt;b&amp;gt;caf&eacute; &#39;&#x1F600;", "café '😀"),
        ("unfinished <b", "unfinished <b"),
        ("http://x/?a=1&section=2&amp;copy=3", "http://x/?a=1&section=2&copy=3"),
        ("my <title> is wrong, <b>please</b> help", "my is wrong, please help"),
        ("", ""),
    ],
)
def test_tags_and_entities_are_stripped(text: str, clean: str) -> None:
    assert strip_html(text) == clean


PIECES = ("<", "&", ";", "amp", "lt", "#38", "b", ">", "/", "!--", "-->", "script", " ", "a", "\n", "=", '"')


@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_a_clean_text_stays_as_it_is(pieces: list[str]) -> None:
    clean = strip_html("".join(pieces))
    assert strip_html(clean) == clean


@pytest.mark.parametrize(
    "piece",
    ["<", "<a ", "<!--", "<!", "<?", "</b", "<a x='", '<a x=">', "&", "amp;", "&lt;", "<b>", "<script>"],
)
def test_no_text_takes_long(piece: str) -> None:
    text = "&" + piece * (20_000 // len(piece))
    began = time.process_time()
    strip_html(text)
    assert time.process_time() - began < 3


def test_markup_is_counted() -> None:
    assert count_markup(MAIL) == 8
    assert count_markup("a < b & c > d <ann@example.org>") == 0


def test_training_reads_clean_texts_and_logs_the_cost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "train.jsonl").write_text(
        "".join(json.dumps({"text": text, "label": "a"}) + "\n" for text in (MAIL, "plain"))
    )
    files = find_part_files(tmp_path)
    with caplog.at_level(logging.INFO, "tokensieve"):
        assert read_raw(files, Data(clean="html")).parts["train"].texts == [CLEAN, "plain"]
    assert "data.clean=html: 1 of 2 texts changed, " in caplog.text
    for clean, text in (("html", CLEAN), ("none", MAIL)):
        found = read_raw_once(files, Data(clean=clean), tmp_path / "parsed").parts["train"]
        assert found.texts == [text, "plain"]


@pytest.fixture
def folder(served: Any, tmp_path: Path) -> Path:
    made: Path = served.write(tmp_path / "model")
    replace(served.manifest, clean="html").save(made)
    return made


def test_a_model_reads_the_same_text_as_training(served: Any, folder: Path) -> None:
    tree = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert (tree["format"], tree["clean"]) == (5, "html")
    assert Manifest.load(folder).text_rule == Data(clean="html").text_rule
    plain, cleaning = Predictor.load(served.folder), Predictor.load(folder)
    assert cleaning.predict([MAIL, CLEAN]) == plain.predict([CLEAN, CLEAN])
    assert plain.predict([MAIL]) != plain.predict([CLEAN])
    assert explain(cleaning, MAIL) == explain(plain, CLEAN)
