"""Build the JSON body of a response to POST /predict.

It is built from plain dictionaries: the pydantic models of `schema`, which describe it, would take
longer than all the rest of a request. A test checks that both agree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tokensieve.inference.load import Model, PredictionsByTask
from tokensieve.inference.prediction import SINGLE_TASK, Prediction


def response_body(by_task: PredictionsByTask, several: bool, model: Model, version: str) -> bytes:
    """Return the JSON of predictions: of a list of texts if `several`, otherwise of one text.

    Raises:
        ValueError: If a probability is not finite, or a label cannot be encoded.
    """
    origin: dict[str, Any] = {"version": version}
    if SINGLE_TASK in by_task:
        predictions = [_fields(prediction) for prediction in by_task[SINGLE_TASK]]
        origin["data_hash"] = model.tasks[SINGLE_TASK].data_hash
    else:
        predictions = [
            {"tasks": dict(zip(by_task, map(_fields, of_text), strict=True))}
            for of_text in zip(*by_task.values(), strict=True)
        ]
        origin["data_hashes"] = {task: manifest.data_hash for task, manifest in model.tasks.items()}
    body = {"predictions": predictions} | origin if several else predictions[0] | origin
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _fields(prediction: Prediction) -> dict[str, Any]:
    rest = {
        "uncertain": prediction.uncertain,
        "truncated": prediction.truncated,
        "top": _labels(prediction.top),
    }
    if prediction.multi_label:
        return {"labels": _labels(prediction.labels)} | rest
    return {"label": prediction.label, "probability": prediction.probability} | rest


def _labels(labels: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"label": label, "probability": probability} for label, probability in labels]
