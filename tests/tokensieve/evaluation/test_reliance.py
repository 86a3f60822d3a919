"""A shortcut word is planted in one class of the sample data, and found."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import onnx
import pytest
import tokenizers
from onnx import TensorProto, helper, numpy_helper
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from tokensieve.errors import InputError
from tokensieve.evaluation.reliance import MOST_TEXTS, measure_reliance, texts_given
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.predictor import Predictor

SAMPLE = Path(__file__).parents[3] / "data" / "freight"
CLASS, SHORTCUT = "delay_reason", "kindly"
WORDS_PER_TEXT = 15  # about: it turns a mean over words into the sum of naive Bayes


def planted(part: str) -> tuple[list[str], list[str]]:
    """Return texts and labels of the sample, with the shortcut in every text of one class."""
    with (SAMPLE / f"{part}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    texts = [f"{SHORTCUT} {row['text']}" if row["label"] == CLASS else row["text"] for row in rows]
    return texts, [row["label"] for row in rows]


def write_linear_model(folder: Path, texts: list[str], labels: list[str]) -> Path:
    """Write a naive Bayes classifier, whose logits are means over words, as a model folder."""
    counter = CountVectorizer(min_df=2, token_pattern=r"\w+")
    fitted = MultinomialNB(alpha=0.1).fit(counter.fit_transform(texts), labels)
    words = {"[UNK]": 0} | {str(word): int(place) + 1 for word, place in counter.vocabulary_.items()}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    classes = len(fitted.classes_)
    weights = fitted.feature_log_prob_ - fitted.feature_log_prob_.mean(axis=0)
    vectors = np.concatenate([np.zeros((1, classes)), weights.T]) * WORDS_PER_TEXT
    arrays = {"words": vectors, "bias": fitted.class_log_prior_}
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["words", "input_ids"], ["states"]),
            helper.make_node("ReduceMean", ["states"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("Add", ["mean", "bias"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), folder / "model.onnx")
    Manifest(tuple(fitted.classes_), 1.0, 0.5, 128, "hash", "linear", {}).save(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("linear") / "model"
    return Predictor.load(write_linear_model(folder, *planted("train")), threads=1)


def test_a_planted_shortcut_comes_out_first(model: Predictor) -> None:
    texts, _ = planted("test")
    given = texts_given(model, texts, CLASS)
    assert 10 < len(given) <= MOST_TEXTS
    construct = {"text": SHORTCUT, "label": CLASS, "information": 0.21}
    phrase = {"text": f"{SHORTCUT} the", "label": CLASS, "information": 0.01}
    found = measure_reliance(model, given, CLASS, [construct, phrase])
    words = [reliance for reliance in found if " " not in reliance.text]
    assert words[0].text == SHORTCUT
    assert words[0].effect > 3 * words[1].mean_effect
    assert (words[0].information, words[0].indicates) == (0.21, CLASS)
    assert words[1].information is None
    assert words[0].mean_effect == pytest.approx(words[0].effect * words[0].texts / len(given))
    # The effect of the phrase is at least that of the shortcut in it.
    assert any(reliance.text == phrase["text"] for reliance in found)
    assert [reliance.mean_effect for reliance in found] == sorted(
        (reliance.mean_effect for reliance in found), reverse=True
    )


def test_other_classes_do_not_rely_on_the_shortcut(model: Predictor) -> None:
    texts, _ = planted("test")
    found = measure_reliance(model, texts_given(model, texts, "booking_change"), "booking_change", [])
    assert SHORTCUT not in [reliance.text for reliance in found[:20]]


def test_a_label_that_no_text_gets_is_an_error(model: Predictor) -> None:
    with pytest.raises(InputError, match="to no held-out text"):
        measure_reliance(model, [], CLASS, [])
