from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tokensieve.data.examples import Examples
from tokensieve.evaluation.labelled_data import class_rows, evaluate_examples, evaluate_file, figure_rows
from tokensieve.inference.manifest import Manifest
from tokensieve.settings import Data


class Words:
    """A multi-label model that gives each label that the text names."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.manifest = Manifest(labels, 1.0, 0.5, 16, "hash", "tiny", {}, {}, (0.5,) * len(labels))

    def logits(self, texts: list[str]) -> np.ndarray:  # type: ignore[type-arg]
        return np.array(
            [[6.0 if label in text.split() else -6.0 for label in self.manifest.labels] for text in texts]
        )


def test_a_multi_label_model_is_measured_by_exact_match_and_both_f1() -> None:
    model = Words(("a", "b", "c"))
    texts = ["a b", "b", "nothing", "a c", "d a"]
    test = Examples.of(texts, [["a", "b"], ["b"], [], ["a"], ["a", "d"]])
    found = evaluate_examples(model, test, ["nothing here", "c"])  # type: ignore[arg-type]
    assert found["test_exact_match"] == 0.75
    assert (found["texts"], found["unknown_labels"]) == (4, {"d": 1})
    assert found["test_micro_f1"] == pytest.approx(2 * 4 / (4 + 5))
    assert found["test_micro_f1_interval"][0] <= found["test_micro_f1"] <= found["test_micro_f1_interval"][1]
    assert found["oos_recall"] == 0.5
    assert [name for name, _ in figure_rows(found)] == [
        "texts",
        "left out",
        "exact match",
        "micro F1",
        "macro F1",
        "calibration error",
        "confident answers",
        "out-of-scope recall",
    ]
    assert [row[0] for row in class_rows(found)] == ["a", "b"]


def test_the_separator_of_the_settings_splits_the_labels(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\na b,a;b\nb,b\nnothing,\n")
    found = evaluate_file(Words(("a", "b")), path, Data(label_separator=";"))  # type: ignore[arg-type]
    assert found["test_exact_match"] == 1.0
