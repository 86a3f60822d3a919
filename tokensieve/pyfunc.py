"""The served folder as an MLflow model: MLflow calls `_load_pyfunc` by its name. Needs nothing of MLflow itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokensieve.predictor import LabelSet, Prediction, Predictor


class TextClassifier:
    """Answers a table with a column `text`: a dict with label, probability and uncertain for each row, or, from a model that gives
    any number of labels, with labels (their probabilities by name) and uncertain."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, table: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
        return [_row(answer) for answer in self._predictor.predict(list(table["text"]))]


def _row(answer: Prediction | LabelSet) -> dict[str, Any]:
    if isinstance(answer, LabelSet):
        return {"labels": dict(answer.labels), "uncertain": answer.uncertain}
    return {"label": answer.label, "probability": answer.probability, "uncertain": answer.uncertain}


def _load_pyfunc(path: str) -> TextClassifier:
    return TextClassifier(Predictor.load(Path(path)))
