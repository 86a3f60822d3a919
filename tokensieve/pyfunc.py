"""The served folder as an MLflow model: MLflow calls `_load_pyfunc` by its name. Needs nothing of MLflow itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokensieve.predictor import Predictor


class TextClassifier:
    """Answers a table with a column `text`: a dict with label, probability and uncertain for each row."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, table: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
        answers = self._predictor.predict(list(table["text"]))
        return [{"label": a.label, "probability": a.probability, "uncertain": a.uncertain} for a in answers]


def _load_pyfunc(path: str) -> TextClassifier:
    return TextClassifier(Predictor.load(Path(path)))
