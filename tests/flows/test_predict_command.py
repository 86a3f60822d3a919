from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.cli import main
from tokensieve import served
from tokensieve.predictor import LabelSet, Prediction
from tokensieve.served import Answers


class Cards:
    """Two tasks that answer what they are asked."""

    def predict_by_task(self, texts: list[str], top: int = 3) -> Answers:
        one = [Prediction(text, 0.75, text == "b", False, ((text, 0.75), ("z", 0.25))[:top]) for text in texts]
        several = [LabelSet((), False, True, (("x", 0.5),)), LabelSet((("x", 0.9), ("y", 0.8)), False, True, (("x", 0.9),))]
        return {"cards": one, "topics": several[: len(texts)]}


def test_of_several_tasks_each_says_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(served, "load", lambda folder, threads: Cards())
    assert main(["predict", "--model", str(tmp_path), "a", "b"]) == 0
    assert capfd.readouterr().out.splitlines() == [
        "cards: a  0.750; topics: no label",
        "cards: b  0.750  (uncertain); topics: x  0.900, y  0.800",
    ]
    assert main(["predict", "--model", str(tmp_path), "--json", "--top", "1", "a"]) == 0
    assert json.loads(capfd.readouterr().out) == {
        "text": "a",
        "tasks": {
            "cards": {"label": "a", "probability": 0.75, "uncertain": False, "truncated": False, "top": [["a", 0.75]]},
            "topics": {"labels": [], "uncertain": False, "truncated": True, "top": [["x", 0.5]]},
        },
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give texts, or --input and --output"),
        (["text", "--input", "in.csv", "--output", "out.csv"], "give texts, or --input and --output, not both"),
        (["--input", "in.csv"], "--input needs --output"),
        (["text", "--output", "out.csv"], "--output needs --input"),
        (["text", "--text", "utterance"], "--text names a column of --input"),
        (["--input", "in.csv", "--output", "out.csv", "--json"], "give an --output that ends in .jsonl"),
        (["--input", "in.csv", "--output", "out.csv"], "--model none does not exist"),
    ],
)
def test_predict_takes_texts_or_a_file(arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--model", "none", *arguments]) == 2
    output = capfd.readouterr()
    assert words in output.err
    assert len(output.err.splitlines()) == 1
    assert output.out == ""
