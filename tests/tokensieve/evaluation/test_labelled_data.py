from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tokensieve.data.examples import Examples
from tokensieve.data.text_hashes import hash_texts
from tokensieve.errors import InputError
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


LABELS = ["Billing", "billing\u200b", " billing ", "BILLING", "cafe\u0301", "TRUE", "two_words"]


@pytest.mark.parametrize("normalize", [True, False])
def test_labels_that_look_like_the_models_are_merged_as_in_a_run(tmp_path: Path, normalize: bool) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        "text,label\n" + "".join(f"x,{label}\n" for label in [*LABELS, "billing", "new"]), "utf-8"
    )
    model = Words(("billing", "caf\u00e9", "true", "two words"))
    settings = Data(normalize_labels=normalize)
    found = evaluate_file(model, path, settings)  # type: ignore[arg-type]
    if not normalize:
        assert (found["texts"], found["left_out"], found["merged_labels"]) == (2, 7, {})
        return
    assert (found["texts"], found["unknown_labels"]) == (8, {"new": 1})
    assert found["merged_labels"] == {
        "BILLING": "billing",
        "Billing": "billing",
        "TRUE": "true",
        "billing\u200b": "billing",
        "cafe\u0301": "caf\u00e9",
        "two_words": "two words",
    }
    shown = dict(figure_rows(found))["labels read as"]
    assert shown.startswith("'BILLING' as 'billing', ")
    assert shown.endswith("(data.normalize_labels=true)")


def test_a_label_like_two_of_the_model_stays_unknown_and_an_exact_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\nx,a\nx,A\nx,a-\n")
    found = evaluate_file(Words(("a", "A")), path, Data(normalize_labels=True))  # type: ignore[arg-type]
    assert (found["texts"], found["unknown_labels"], found["merged_labels"]) == (2, {"a-": 1}, {})


def test_a_row_without_a_label_is_named_by_its_line(tmp_path: Path) -> None:
    model = Words(("a", "b"))
    model.manifest = replace(model.manifest, thresholds=())
    (tmp_path / "rows.csv").write_text('text,label\n"a\nb",a\n\nb,\n')
    with pytest.raises(InputError, match=r"rows\.csv, line 5: the model gives one label per text"):
        evaluate_file(model, tmp_path / "rows.csv", Data())  # type: ignore[arg-type]


def test_texts_that_the_model_was_trained_on_are_counted_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\nA b,a;b\nb,b\nnothing,\n<p>a</p>,a\n")
    model = Words(("a", "b"))

    def measured(*trained: str) -> dict[str, Any]:
        return evaluate_file(model, path, Data(label_separator=";"), None, hash_texts(trained))  # type: ignore[arg-type]

    assert (measured("a b", "b", "other")["trained_texts"], caplog.messages) == (
        2,
        [
            f"{path}: the model was trained or validated on 2 of 4 texts, so the figures are better than on "
            "new texts; use other texts"
        ],
    )
    shown = dict(figure_rows(measured("a b")))
    assert shown["known texts"] == "1 (used to train or validate the model)"
    model.manifest = replace(model.manifest, clean="html")
    assert measured("a")["trained_texts"] == 1

    caplog.clear()
    found = measured("other")
    assert found["trained_texts"] == 0
    assert "known texts" not in dict(figure_rows(found))
    assert evaluate_file(model, path, Data(label_separator=";"))["trained_texts"] is None  # type: ignore[arg-type]
    assert not caplog.messages
