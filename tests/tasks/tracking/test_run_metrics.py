from __future__ import annotations

from pathlib import Path

import pytest

from tasks.tracking.run_metrics import MAX_CLASSES, class_metrics, class_table, metrics
from tokensieve.files import write_json
from tokensieve.project import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    for folder in (layout.model, layout.evaluation, layout.mask, layout.vocabulary, layout.onnx):
        folder.mkdir(parents=True)
    (layout.model / "history.jsonl").write_text('{"epoch": 1, "train_loss": 0.5}\n', encoding="utf-8")
    for folder in (layout.mask, layout.vocabulary):
        write_json(folder / "report.json", {})
    figures = {"f1": 0.8, "precision": 0.7, "recall": 0.9, "support": 4}
    evaluated = {"test_accuracy": 0.9, "temperature": 0.7, "oos_recall": None, "per_class": {"card": figures}}
    write_json(layout.evaluation / "report.json", evaluated)
    write_json(layout.onnx / "manifest.json", {"parity": {"confident_agreement": 1.0}})
    row = {
        "variant": "int8",
        "milliseconds": 1.1,
        "accuracy": 0.89,
        "accuracy_drop_chance": 0.3,
        "faults": [],
    }
    served = {"test_accuracy": 0.89, "test_accuracy_interval": [0.8, 0.95], "threshold": 0.4}
    write_json(layout.onnx / "race.json", {"variants": [row], "served": served})
    return layout


def test_the_test_figures_are_of_the_served_build_and_pytorchs_have_a_group_of_their_own(
    layout: Layout,
) -> None:
    assert {(name, value) for name, value, _ in metrics(layout)} == {
        ("training/train_loss", 0.5),
        ("test/accuracy", 0.89),
        ("pytorch/accuracy", 0.9),
        ("decision/temperature", 0.7),
        ("decision/threshold", 0.4),
        ("class/f1/card", 0.8),
        ("export/confident_agreement", 1.0),
        ("export/int8/milliseconds", 1.1),
        ("export/int8/accuracy", 0.89),
    }


def test_the_seconds_of_the_stages_are_metrics_too(layout: Layout) -> None:
    layout.seconds.parent.mkdir(parents=True)
    write_json(layout.seconds, {"finetune": 12.5, "register": 2.0})
    assert ("seconds/finetune", 12.5, 0) in set(metrics(layout))
    # Registering logs them: how long it takes is not known yet.
    assert not [name for name, _, _ in metrics(layout) if name == "seconds/register"]


def test_labels_with_characters_that_mlflow_refuses_get_names_of_their_own() -> None:
    labels = ("card?", "card!", "a/b", "..", "عودة", "x" * 900, "Kündigung: 50 %")
    names = [name for name, _, _ in class_metrics({label: {"f1": 0.5} for label in labels})]
    assert names[:5] == ["class/f1/card_", "class/f1/card_ 2", "class/f1/a_b", "class/f1/_", "class/f1/عودة"]
    assert max(map(len, names)) < 250
    many = {str(number): {"f1": 0.5} for number in range(MAX_CLASSES + 1)}
    assert len(list(class_metrics(many))) == MAX_CLASSES


def test_the_table_of_the_classes_begins_with_the_weakest() -> None:
    weak, strong = {"f1": 0.2, "support": 3}, {"f1": 0.9, "precision": 1.0, "recall": 0.8, "support": 7}
    assert class_table({"b": strong, "a": weak}) == {
        "label": ["a", "b"],
        "precision": [None, 1.0],
        "recall": [None, 0.8],
        "f1": [0.2, 0.9],
        "test texts": [3, 7],
    }
