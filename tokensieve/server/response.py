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
    origin = model_origin(model, version)
    if SINGLE_TASK in by_task:
        predictions = [_fields(prediction) for prediction in by_task[SINGLE_TASK]]
    else:
        predictions = [
            {"tasks": dict(zip(by_task, map(_fields, of_text), strict=True))}
            for of_text in zip(*by_task.values(), strict=True)
        ]
    body = {"predictions": predictions} | origin if several else predictions[0] | origin
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def model_origin(model: Model, version: str) -> dict[str, Any]:
    """Return the fields of a response that name the model and its data."""
    if SINGLE_TASK in model.tasks:
        return {"version": version, "data_hash": model.tasks[SINGLE_TASK].data_hash}
    hashes = {task: manifest.data_hash for task, manifest in model.tasks.items()}
    return {"version": version, "data_hashes": hashes}


def _fields(prediction: Prediction) -> dict[str, Any]:
    rest = {
        "uncertain": prediction.uncertain,
        "truncated": prediction.truncated,
        "top": label_fields(prediction.top),
    }
    if prediction.multi_label:
        return {"labels": label_fields(prediction.labels)} | rest
    return {"label": prediction.label, "probability": prediction.probability} | rest


def label_fields(labels: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    """Return labels with their probabilities as the fields of a response."""
    return [{"label": label, "probability": probability} for label, probability in labels]
