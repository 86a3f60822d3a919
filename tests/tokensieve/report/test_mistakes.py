from __future__ import annotations

import numpy as np

from tokensieve.data.examples import Examples
from tokensieve.inference.decisions import DecisionRule
from tokensieve.report import mistakes
from tokensieve.report.mistakes import class_rows, confusions, matrix

LABELS = ["bill", "card", "rate"]


def figures(recall: float, support: int) -> dict[str, float]:
    return {"precision": 0.5, "recall": recall, "f1": 0.5, "support": support}


def test_the_surely_weakest_class_is_first_and_an_untested_one_last() -> None:
    per_class = {"a": figures(0.0, 1), "b": figures(0.3, 10), "c": figures(0.0, 0), "d": figures(1.0, 10)}
    rows = class_rows(per_class, {"a": 4})
    assert [row.label for row in rows] == ["b", "a", "d", "c"]
    assert [row.train for row in rows] == [0, 4, 0, 0]


def test_the_most_frequent_confusion_is_first_with_its_surest_texts() -> None:
    part = Examples.of(["t1", "t2", "t3", "t4", "t5"], ["bill", "bill", "bill", "card", "rate"])
    probabilities = [[0.4, 0.5, 0.1], [0.1, 0.8, 0.1], [0.9, 0.05, 0.05], [0.2, 0.1, 0.7], [0.1, 0.1, 0.8]]
    found = confusions(part, np.log(probabilities), LABELS, DecisionRule(1.0, 0.5))
    assert [(one.true, one.predicted, one.count, one.of) for one in found] == [
        ("bill", "card", 2, 3),
        ("card", "rate", 1, 1),
    ]
    assert [(text.where, text.text, round(text.probability, 2)) for text in found[0].texts] == [
        ("row 2", "t2", 0.8),
        ("row 1", "t1", 0.5),
    ]


def test_sets_of_labels_are_confused_as_a_whole() -> None:
    part = Examples(["both", "none"], [("bill", "card"), ()], [1, 2], multi_label=True)
    logits = np.array([[3.0, -3.0, -3.0], [-3.0, -3.0, 3.0]])
    found = confusions(part, logits, LABELS, DecisionRule(1.0, 0.5, thresholds=(0.5, 0.5, 0.5)))
    assert [(one.true, one.predicted) for one in found] == [("", "rate"), ("bill, card", "bill")]


def test_only_some_confusions_and_texts_are_kept() -> None:
    many = mistakes.TEXTS + 3
    part = Examples.of(["t"] * many, ["bill"] * many)
    logits = np.tile([0.0, 5.0, 0.0], (many, 1))
    (found,) = confusions(part, logits, LABELS, DecisionRule(1.0, 0.5))
    assert (found.count, len(found.texts)) == (many, mistakes.TEXTS)


def test_a_matrix_counts_each_text_unless_it_is_too_large_to_read() -> None:
    part = Examples.of(["a", "b", "c"], ["bill", "card", "card"])
    logits = np.array([[1.0, 0, 0], [1.0, 0, 0], [0, 0, 1.0]])
    found = matrix(part, logits, LABELS)
    assert found is not None
    assert found.counts == ((1, 0, 0), (1, 0, 1), (0, 0, 0))
    assert matrix(part, logits, LABELS + [f"class {i}" for i in range(mistakes.IN_MATRIX)]) is None
    assert matrix(Examples([], [], [], multi_label=True), logits, LABELS) is None
