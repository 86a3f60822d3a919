"""A model folder as an MLflow pyfunc model: MLflow calls `_load_pyfunc`, and is not imported."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from itertools import compress
from pathlib import Path
from typing import Any

from tokensieve.data.normalize import is_blank
from tokensieve.errors import InputError, excerpt
from tokensieve.inference.predictor import Predictor
from tokensieve.text_rule import join_columns

# The columns of the predictions with their MLflow types, for single-label and multi-label models.
SINGLE_LABEL = {"label": "string", "probability": "double", "uncertain": "boolean", "truncated": "boolean"}
MULTI_LABEL = {
    "labels": "[string]",
    "probabilities": "[double]",
    "uncertain": "boolean",
    "truncated": "boolean",
}

# The prediction for a row without a text. It is not null, because MLflow passes null to Spark as
# the label "nan".
NO_LABEL = {"label": "", "probability": 0.0, "uncertain": True, "truncated": False}
NO_LABELS: dict[str, Any] = {"labels": [], "probabilities": [], "uncertain": True, "truncated": False}


class TextClassifier:
    """A pyfunc model that predicts the column `text` of a table, or the columns of the model.

    Several threads may use it at once. It is not pickled: each process loads the model from the
    folder.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, table: Mapping[str, Iterable[Any]]) -> list[dict[str, Any]]:
        """Return one dict per row, with the keys of `SINGLE_LABEL` or `MULTI_LABEL`.

        Spark converts it to a struct. A row without a text, or with a blank one, has no label and
        is uncertain.

        Raises:
            InputError: If a column has a value that is not a text.
        """
        columns = self._predictor.text_rule.columns or ("text",)
        values = ([_text(value, name) for value in table[name]] for name in columns)
        texts = [join_columns(row) for row in zip(*values, strict=True)]
        cleaned = self._predictor.text_rule.cleaned
        present = [text is not None and not is_blank(cleaned(text)) for text in texts]
        predictions = iter(self._predictor.predict([text for text in compress(texts, present) if text]))
        absent = NO_LABELS if self._predictor.manifest.thresholds else NO_LABEL
        return [next(predictions).columns() if has_text else dict(absent) for has_text in present]


def _text(value: Any, column: str) -> str | None:
    if isinstance(value, str):
        return value
    # A missing text is None, NaN or the NA of pandas, depending on the type of the column and the
    # version of pandas.
    if value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and math.isnan(value)):
        return None
    raise InputError(f"column {excerpt(column)} has {excerpt(value)}; give texts")


def _load_pyfunc(path: str) -> TextClassifier:
    # Spark starts one process per core and sets this variable. Otherwise each process would use all
    # cores.
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return TextClassifier(Predictor.load(Path(path), int(threads) if threads.isdecimal() else None))
