from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from tokensieve.errors import InputError
from tokensieve.inference.explain import explain, occlude
from tokensieve.inference.load import load
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.phrases import NAME as PHRASES
from tokensieve.inference.phrases import save_phrases
from tokensieve.inference.prediction import SINGLE_TASK
from tokensieve.inference.predictor import Predictor
from tokensieve.inference.session import load_engine
from tokensieve.truncation import HEAD_TAIL

TEMPERATURE = 1.7


@pytest.fixture(scope="module")
def predictor(served: Any) -> Predictor:
    return Predictor.load(served.folder, threads=1)


def log_odds(row: Any, column: int) -> float:
    """The plain reference: the logarithm of p / (1 - p)."""
    scores = np.exp(np.asarray(row, dtype=np.float64) / TEMPERATURE)
    share = scores[column] / scores.sum()
    return float(np.log(share / (1 - share)))


def test_the_effect_is_the_change_of_log_odds_without_the_word(predictor: Predictor, served: Any) -> None:
    text, shorter = "i lost my card", ["lost my card", "i my card", "i lost card", "i lost my"]
    found = explain(predictor, text)[SINGLE_TASK]
    (prediction,) = predictor.predict([text])
    assert (found.label, found.labels) == (prediction.label, prediction.labels)
    assert found.probability == pytest.approx(prediction.probability)
    assert [effect.text for effect in found.words] == ["i", "lost", "my", "card"]
    column = predictor.manifest.labels.index(found.label)
    rows = served.logits([text, *shorter])
    for effect, row, expected in zip(found.words, rows[1:], predictor.predict(shorter), strict=True):
        assert effect.effect == pytest.approx(log_odds(rows[0], column) - log_odds(row, column), abs=1e-4)
        assert effect.labels[0][0] == expected.label
        if expected.label == found.label:
            assert effect.probability == pytest.approx(expected.probability, abs=1e-6)
    effects = [abs(effect.effect) for effect in found.ranked()]
    assert effects == sorted(effects, reverse=True)


def test_all_occurrences_of_a_word_are_removed_together(predictor: Predictor) -> None:
    occlusion = occlude(predictor, "Card to my card ? CARD")
    assert [(removal.text, removal.spans) for removal in occlusion.words] == [
        ("Card", ((0, 4), (11, 15), (18, 22))),
        ("to", ((5, 7),)),
        ("my", ((8, 10),)),
        ("?", ((16, 17),)),
    ]
    assert occlusion.ids[1] == predictor.tokenize(["to my ?"])[0].ids
    assert occlusion.ids[2] == predictor.tokenize(["Card my card ? CARD"])[0].ids


def test_any_label_can_be_explained(predictor: Predictor) -> None:
    found = explain(predictor, "i lost my card", "größe")[SINGLE_TASK]
    assert found.label == "größe"
    top = dict(predictor.predict(["i lost my card"], top=4)[0].top)
    assert found.probability == pytest.approx(top["größe"])
    with pytest.raises(InputError, match=r"no label .refund.*balance, card_lost"):
        explain(predictor, "i lost my card", "refund")


def test_phrases_are_removed_as_a_whole(predictor: Predictor) -> None:
    phrases = ("my card", "lost my", "no such", "friend please")
    found = explain(predictor, "I lost my, card: MY CARD", phrases=phrases)[SINGLE_TASK]
    assert [(phrase.text, len(phrase.spans)) for phrase in found.phrases] == [("lost my", 1), ("my, card", 2)]
    limited = occlude(predictor, "i lost my card", phrases, most=5)
    assert (len(limited.words), len(limited.phrases)) == (4, 1)


def test_the_phrases_of_the_model_are_the_default(served: Any, tmp_path: Path) -> None:
    folder = tmp_path / "served"
    shutil.copytree(served.folder, folder)
    save_phrases(folder, ["my card", "card", "lost my"])
    manifest = Manifest.load(folder)
    replace(manifest, files={**manifest.files, PHRASES: ""}).save(folder)
    model = Predictor.load(folder, threads=1)
    assert [phrase.text for phrase in explain(model, "lost my card")[SINGLE_TASK].phrases] == [
        "lost my",
        "my card",
    ]
    assert explain(model, "lost my card", phrases=())[SINGLE_TASK].phrases == ()


def test_a_text_of_one_word_or_none_can_be_explained(
    predictor: Predictor, served: Any, tmp_path: Path
) -> None:
    assert explain(predictor, "  ")[SINGLE_TASK].words == ()
    assert [effect.text for effect in explain(predictor, "card")[SINGLE_TASK].words] == ["card"]
    plain = Predictor.load(served.write(tmp_path / "plain", special=False), threads=1)
    assert len(explain(plain, "card")[SINGLE_TASK].words) == 1
    assert explain(plain, "")[SINGLE_TASK].words == ()


def test_only_words_that_the_model_reads_are_removed(predictor: Predictor) -> None:
    text = "i lost my card what is my balance please ? send money to a friend"
    found = explain(predictor, text)[SINGLE_TASK]
    assert found.truncated
    assert [effect.text for effect in found.words][-1] == "?"
    assert all(len(ids) <= 12 for ids in occlude(predictor, text).ids)


def test_the_words_of_head_and_tail_are_removed(served: Any) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(served.folder / "tokenizer.json"))
    tokenizer.no_truncation()
    manifest = served.manifest.__class__(**{**vars(served.manifest), "truncation": HEAD_TAIL})
    both = Predictor(manifest, tokenizer, load_engine(served.folder / "model.onnx", "fp32", 1))
    found = explain(both, "i lost my card what " + "is " * 50 + "send money to a friend")[SINGLE_TASK]
    words = ["i", "lost", "my", "card", "what", "send", "money", "to", "a", "friend"]
    assert [effect.text for effect in found.words] == words


def test_words_are_removed_in_sequences_if_there_are_too_many(predictor: Predictor) -> None:
    text = "i lost my card what is balance"
    occlusion = occlude(predictor, text, most=3)
    assert [removal.text for removal in occlusion.words] == ["i lost my", "card what is", "balance"]
    assert occlusion.ids[2] == predictor.tokenize(["i lost my balance"])[0].ids


def test_labels_of_a_multi_label_model_are_explained_one_by_one(served: Any, tmp_path: Path) -> None:
    several = Predictor.load(served.write_several(tmp_path / "several"), threads=1)
    found = explain(several, "i lost my card", "transfer")[SINGLE_TASK]
    rows = served.logits(["i lost my card", "i my card"]) / TEMPERATURE
    column = several.manifest.labels.index("transfer")
    assert found.words[1].effect == pytest.approx(rows[0, column] - rows[1, column], abs=1e-4)
    assert found.probability == pytest.approx(1 / (1 + np.exp(-rows[0, column])), abs=1e-5)


def test_each_task_of_a_shared_model_is_explained(served: Any, tmp_path: Path, predictor: Predictor) -> None:
    shared = load(served.write_shared(tmp_path / "shared"), 1)
    found = explain(shared, "i lost my card")
    assert set(found) == {"intent", "topics"}
    alone = explain(predictor, "i lost my card")[SINGLE_TASK]
    assert [effect.effect for effect in found["intent"].words] == pytest.approx(
        [effect.effect for effect in alone.words], abs=1e-4
    )
    assert set(explain(shared, "i lost my card", "transfer")) == {"intent"}


@given(text=st.text(st.characters(exclude_categories=()), max_size=40), most=st.integers(1, 6))
def test_any_text_can_be_explained(predictor: Predictor, text: str, most: int) -> None:
    found = explain(predictor, text, most=most)[SINGLE_TASK]
    assert len(found.words) <= most
    assert all(np.isfinite(effect.effect) for effect in found.words)
