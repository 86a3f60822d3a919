"""The served folder as an MLflow model: MLflow calls `_load_pyfunc` by its name. Needs nothing of MLflow itself."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokensieve.errors import InputError, excerpt
from tokensieve.inference.predictor import Predictor

# Columns of the answers and their MLflow types, of a model that gives one label and of one that gives any number.
SINGLE = {"label": "string", "probability": "double", "uncertain": "boolean", "truncated": "boolean"}
SEVERAL = {"labels": "[string]", "probabilities": "[double]", "uncertain": "boolean", "truncated": "boolean"}

# The answer where there is no text. Not null: on MLflow's way to Spark that becomes the label "nan", which is not even uncertain.
NO_LABEL = {"label": "", "probability": 0.0, "uncertain": True, "truncated": False}
NO_LABELS: dict[str, Any] = {"labels": [], "probabilities": [], "uncertain": True, "truncated": False}


class TextClassifier:
    """Answers a table with a column `text`: for each row a dict with the keys of `SINGLE` or `SEVERAL`, so that Spark can take all for
    a struct. A row without a text has no label and is uncertain.

    It may be used from many threads at once. It is not pickled: each process loads its own, from the folder.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, table: Mapping[str, Iterable[Any]]) -> list[dict[str, Any]]:
        """Raises InputError: the column holds something other than texts."""
        texts = list(map(_text, table["text"]))
        answers = iter(self._predictor.predict([text for text in texts if text is not None]))
        absent = NO_LABELS if self._predictor.manifest.thresholds else NO_LABEL
        return [dict(absent) if text is None else next(answers).columns() for text in texts]


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    # What is absent is None, NaN or pandas' NA, by its version and the column's type.
    if value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and math.isnan(value)):
        return None
    raise InputError(f"column 'text' holds {excerpt(value)}; give texts")


def _load_pyfunc(path: str) -> TextClassifier:
    # Spark starts a process a core and says so here; else each would take all cores.
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return TextClassifier(Predictor.load(Path(path), int(threads) if threads.isdecimal() else None))
