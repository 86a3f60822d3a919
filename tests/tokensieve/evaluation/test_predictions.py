from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from tokensieve.data.examples import Examples
from tokensieve.evaluation.predictions import COLUMNS, write_predictions
from tokensieve.inference.decisions import DecisionRule


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_per_text_names_label_prediction_and_runner_up(tmp_path: Path) -> None:
    part = Examples(["lost\ncard", 'a "bill"'], [("card",), ("bill",)], [7, 9])
    logits = np.log(np.array([[0.2, 0.7, 0.1], [0.5, 0.3, 0.2]]))
    rule = DecisionRule(temperature=1.0, threshold=0.6)
    write_predictions(tmp_path / "found.csv", {"test": (part, logits)}, ["bill", "card", "rate"], rule)
    rows = read(tmp_path / "found.csv")
    assert tuple(rows[0]) == COLUMNS
    assert list(rows[0].values()) == ["test", "7", "lost\ncard", "card", "card", "0.7000", "bill", "false"]
    assert list(rows[1].values()) == ["test", "9", 'a "bill"', "bill", "bill", "0.5000", "card", "true"]


def test_labels_of_a_multi_label_text_are_joined(tmp_path: Path) -> None:
    part = Examples(["both", "none", "all"], [("bill", "card"), (), ("bill",)], [1, 2, 3], multi_label=True)
    logits = np.array([[3.0, 2.0, -1.0], [-3.0, -2.0, -1.0], [3.0, 3.0, 3.0]])
    rule = DecisionRule(1.0, 0.5, thresholds=(0.5, 0.5, 0.5))
    path = tmp_path / "found.csv"
    write_predictions(path, {"validation": (part, logits)}, ["bill", "card", "rate"], rule, "; ")
    rows = read(path)
    assert [row["label"] for row in rows] == ["bill; card", "", "bill"]
    assert [row["predicted"] for row in rows] == ["bill; card", "", "bill; card; rate"]
    assert [row["second"] for row in rows] == ["rate", "rate", ""]


def test_a_text_with_a_lone_surrogate_is_written(tmp_path: Path) -> None:
    part = Examples.of(["half \ud83d pair"], ["card"])
    rule = DecisionRule(1.0, 0.5)
    write_predictions(tmp_path / "found.csv", {"test": (part, np.eye(2)[:1])}, ["bill", "card"], rule)
    assert read(tmp_path / "found.csv")[0]["text"] == "half ? pair"


def test_lines_of_the_file_are_shown_where_it_has_lines(tmp_path: Path) -> None:
    path = tmp_path / "found.csv"
    in_lines = Examples(["a"], [("card",)], [1], lines=[2])
    typed = Examples(["b"], [("card",)], [1], ids=["T1"])
    rule = DecisionRule(1.0, 0.5)
    parts = {"validation": (in_lines, np.eye(2)[:1]), "test": (typed, np.eye(2)[:1])}
    write_predictions(path, parts, ["bill", "card"], rule)
    assert [(row["row"], row["line"], row["data_id"]) for row in read(path)] == [
        ("1", "2", ""),
        ("1", "", "T1"),
    ]
    assert [*read(path)[0]][:3] == ["part", "row", "line"]


def test_ids_are_shown_and_no_cell_is_a_formula(tmp_path: Path) -> None:
    path = tmp_path / "found.csv"
    part = Examples(["=1+1", "@a"], [("card",), ("-5",)], [1, 2], ids=["+7", "8"])
    rule = DecisionRule(1.0, 0.5, 0.0, ())
    write_predictions(path, {"test": (part, np.eye(2))}, ["-5", "card"], rule)
    with path.open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["text"], first["label"], first["data_id"]) == ("'=1+1", "card", "'+7")
    assert (second["text"], second["label"], second["data_id"]) == ("'@a", "'-5", "8")
