"""A phrase is planted in one class of the sample data, and found. The sample itself has none."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.tokensieve.evaluation.test_reliance import CLASS, SAMPLE, write_linear_model
from tokensieve.evaluation.metrics import Bools
from tokensieve.evaluation.shortcuts import TRIED, SharedPhrase, Shortcut, find_shortcuts, shared_phrases
from tokensieve.inference.predictor import Predictor

PHRASE = "Opened through the Zephyr form"


def rows(part: str, every: int = 0) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return texts and labels of the sample. Each `every`th text of a class lacks the phrase."""
    with (SAMPLE / f"{part}.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    texts, seen = [], 0
    for row in found:
        seen += row["label"] == CLASS
        planted = every and row["label"] == CLASS and seen % every
        texts.append(f"{row['text'].rstrip('.')}. {PHRASE}." if planted else row["text"])
    return texts, [(row["label"],) for row in found]


def test_the_sample_has_no_shortcut_and_a_planted_one_is_found(tmp_path: Path) -> None:
    assert shared_phrases(*rows("train")) == []
    texts, labels = rows("train", every=6)
    (phrase,) = shared_phrases(texts, labels)
    size = labels.count((CLASS,))
    assert (phrase.text, phrase.label, phrase.size, phrase.elsewhere) == (PHRASE, CLASS, size, 0)
    assert phrase.texts == size - size // 6
    model = Predictor.load(
        write_linear_model(tmp_path / "model", texts, [names[0] for names in labels]), threads=1
    )

    def gets(texts: Sequence[str], label: str) -> Bools:
        return np.array([found.label == label for found in model.predict(texts)])

    (found,) = find_shortcuts([phrase], *rows("test", every=6), gets)
    assert found.tried <= TRIED
    assert found.moved >= 0.5 * found.tried
    assert str(found).startswith(
        f"texts of '{CLASS}' without 'Opened through the Zephyr form': this phrase is in {phrase.texts} of "
        f"its {size} training texts and in no other, and put before {found.tried} test texts of other classes"
    )
    # A model that never saw the phrase does not rely on it.
    plain, names = rows("train")
    own = write_linear_model(tmp_path / "plain", plain, [name[0] for name in names])
    model = Predictor.load(own, threads=1)
    assert list(find_shortcuts([phrase], *rows("test", every=6), gets)) == []


def shared(own: int, size: int, elsewhere: int = 0, phrase: str = "sent by form", label: str = "a") -> bool:
    """Return whether a phrase is found that `own` texts of `size` have, and `elsewhere` others."""
    texts = [f"w{i} {phrase if i < own else ''} x{i}" for i in range(size)]
    texts += [f"y{i} {phrase if i < elsewhere else ''} z{i}" for i in range(200)]
    return bool(shared_phrases(texts, [(label,)] * size + [("b",)] * 200))


@pytest.mark.parametrize(
    ("found", "arguments"),
    [
        (True, {"own": 10, "size": 12}),
        (True, {"own": 8, "size": 8}),
        (False, {"own": 7, "size": 7}),  # too few
        (False, {"own": 7, "size": 10}),  # maybe half of the class
        (True, {"own": 70, "size": 100}),
        (False, {"own": 59, "size": 100}),
        (True, {"own": 50, "size": 50, "elsewhere": 4}),
        (False, {"own": 50, "size": 50, "elsewhere": 5}),
        (False, {"own": 50, "size": 50, "phrase": "by form"}),
        (False, {"own": 50, "size": 50, "phrase": "change my pin", "label": "change_pin"}),
        (False, {"own": 50, "size": 50, "phrase": "my tires are", "label": "tireChange"}),
        (False, {"own": 50, "size": 50, "phrase": "我要退货"}),
        (True, {"own": 50, "size": 50, "phrase": "Отправлено через форму"}),
    ],
)
def test_a_shared_phrase_is_long_in_most_texts_of_a_class_and_not_about_it(
    found: bool, arguments: dict[str, int | str]
) -> None:
    assert shared(**arguments) == found  # type: ignore[arg-type]


def test_the_longest_phrase_is_named_as_it_is_written() -> None:
    texts = [f"Text {i}: Sent By our «Zephyr» form, case {i}" for i in range(20)]
    (found,) = shared_phrases([*texts, *(f"other {i}" for i in range(20))], [("a",)] * 20 + [("b",)] * 20)
    assert found.text == "Sent By our «Zephyr» form, case"


def test_each_label_of_a_multi_label_text_is_a_class() -> None:
    texts = [f"sent by form {i}" for i in range(20)] + [f"other text {i}" for i in range(180)]
    labels = [("a", "b")] * 10 + [("a",)] * 10 + [("b",), ()] * 90
    assert [phrase.label for phrase in shared_phrases(texts, labels)] == ["a"]


def test_only_texts_that_the_phrase_moves_count() -> None:
    phrase = SharedPhrase("sent by form", "a", 18, 20, 3)
    texts = [f"own {i}" for i in range(5)] + [f"other {i}" for i in range(10)] + ["it was sent by form"]
    labels = [("a",)] * 5 + [("b",)] * 11
    assert list(find_shortcuts([phrase], texts, labels, lambda given, _: np.ones(len(given), bool))) == []
    asked: list[Sequence[str]] = []

    def gets(given: Sequence[str], label: str) -> Bools:
        asked.append(given)
        return np.array(["form" in text and "9" not in text for text in given])

    (found,) = find_shortcuts([phrase], texts, labels, gets)
    assert found == Shortcut(phrase, 9, 10)
    assert asked == [texts[5:15], [f"sent by form. {text}" for text in texts[5:15]]]
    assert "in 18 of its 20 training texts and in 3 of the other classes" in str(found)
    assert list(find_shortcuts([phrase], texts[:5], labels[:5], gets)) == []
