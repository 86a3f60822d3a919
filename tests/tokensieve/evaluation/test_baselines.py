from __future__ import annotations

import numpy as np
import pytest

from tokensieve.data.examples import Examples
from tokensieve.data.labels import class_names, encode_targets
from tokensieve.evaluation import baselines
from tokensieve.evaluation.baselines import Baselines, measure_baselines

TRAIN = [
    ("lost my card", "card"),
    ("the card is gone", "card"),
    ("card stolen", "card"),
    ("pay a bill", "bill"),
]
TEST = [("my card is lost", "card"), ("the bill to pay", "bill")]


def measured(
    train: list[tuple[str, str]], test: list[tuple[str, str]], correct: list[bool] | None = None
) -> Baselines:
    parts = [Examples.of(*zip(*rows, strict=True)) for rows in (train, test)]
    names = class_names(parts[0].labels)
    targets = tuple(encode_targets(part.labels, names, False).numpy() for part in parts)
    return measure_baselines(parts[0], parts[1].texts, targets, np.array(correct or [True] * len(test)))  # type: ignore[arg-type]


def test_the_most_frequent_class_and_tf_idf_are_measured_on_the_same_texts() -> None:
    found = measured(TRAIN, TEST, [True, False])
    assert (found.majority.accuracy, found.majority.only_model, found.majority.only_baseline) == (0.5, 0, 0)
    assert found.tfidf is not None
    assert (found.tfidf.accuracy, found.tfidf.macro_f1) == (1.0, 1.0)
    assert (found.tfidf.only_model, found.tfidf.only_baseline) == (0, 1)
    assert found.tfidf.model_is_worse == 0.5
    assert found.tfidf.trained_texts == 4
    low, high = found.tfidf.accuracy_interval
    assert 0 < low < high == 1


def test_the_result_is_the_same_each_time() -> None:
    assert measured(TRAIN, TEST) == measured(TRAIN, TEST)


def test_texts_without_spaces_between_words_are_read() -> None:
    train = [("我的卡丢了", "card"), ("卡被偷了", "card"), ("付账单", "bill"), ("账单多少", "bill")]
    found = measured(train, [("卡不见了", "card"), ("看账单", "bill")])
    assert found.tfidf is not None
    assert found.tfidf.accuracy == 1.0


@pytest.mark.parametrize("text", ["?!", ""])
def test_texts_without_words_leave_the_majority_alone(text: str) -> None:
    assert measured([(text, "a"), (text, "a"), (text, "b")], [(text, "a")]).tfidf is None


def test_one_class_in_the_sample_leaves_the_majority_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_PAIRS", 2)
    found = measured(TRAIN, TEST)
    assert found.tfidf is None
    assert found.majority.trained_texts == 4


def test_large_data_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [(f"{text} {i}", label) for i in range(50) for text, label in TRAIN]
    monkeypatch.setattr(baselines, "MAX_PAIRS", 100)
    by_pairs = measured(many, TEST).tfidf
    assert by_pairs is not None
    assert by_pairs.trained_texts == 50
    monkeypatch.setattr(baselines, "MAX_CHARACTERS", 20 * len("the card is gone 12"))
    by_characters = measured(many, TEST).tfidf
    assert by_characters is not None
    assert 20 < by_characters.trained_texts < 40


def test_a_multi_label_baseline_is_right_if_it_gives_exactly_the_labels() -> None:
    texts = ["lost card", "card bill", "pay bill", "hello", "card gone", "bill due", "hi", "bill of my card"]
    labels = [("card",), ("bill", "card"), ("bill",), (), ("card",), ("bill",), (), ("bill", "card")]
    part = Examples.of(texts, labels)
    names = class_names(part.labels)
    targets = encode_targets(part.labels, names, True).numpy()
    found = measure_baselines(part, texts, (targets, targets), np.ones(8, dtype=bool))
    assert found.majority.accuracy == 0.25
    assert found.tfidf is not None
    assert found.tfidf.accuracy == 1.0


def test_a_label_that_no_text_of_the_sample_has_is_not_predicted() -> None:
    part = Examples.of(["lost card", "pay bill"], [("card",), ("bill",)])
    targets = encode_targets(part.labels, ["bill", "card", "never"], True).numpy()
    found = measure_baselines(part, part.texts, (targets, targets), np.ones(2, dtype=bool))
    assert found.tfidf is not None
    assert found.tfidf.accuracy == 1.0
