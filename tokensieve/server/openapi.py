"""The OpenAPI document of the server, made from the pydantic models in `schema.py`."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from tokensieve import __version__
from tokensieve.server import schema

REFERENCE = "#/components/schemas/"
PREDICT = (
    schema.SingleLabelResponse,
    schema.SingleLabelResponses,
    schema.MultiLabelResponse,
    schema.MultiLabelResponses,
    schema.TasksResponse,
    schema.TasksResponses,
)
EXPLAIN = (schema.ExplainResponse, schema.TasksExplainResponse)
REFUSED = {
    401: "The API key is missing or wrong",
    404: "Feedback is off",
    408: "The body did not arrive in time",
    413: "The body is too large",
    415: "The body is not JSON, or is compressed",
    422: "The body is not a valid request",
    429: "There are too many requests",
    503: "The server has too much to do, or shuts down",
    507: "The file or the disk is full",
}


@cache
def openapi_document(root_path: str = "", needs_key: bool = False) -> dict[str, Any]:
    """Return the OpenAPI document of a server behind a proxy's path prefix.

    Args:
        root_path: Path prefix of the proxy, for example "/classifier"; empty without one.
        needs_key: Whether requests need the API key.
    """
    key = (401,) if needs_key else ()
    paths = _posts(*key) | {
        "/": _get(
            "index", "Return the paths of the server; to a browser, the console.", (schema.Index,), *key
        ),
        "/health": _get("health", "Return status 200 as long as the process responds.", (schema.Health,)),
        "/ready": _get(
            "ready",
            "Return the version of the model that is served, and why a newer one is not.",
            (schema.Readiness,),
        ),
        "/metrics": _get(
            "metrics", "Return counts and durations in the text format of Prometheus.", (), *key
        ),
        "/model": _get(
            "model",
            "Return the labels and thresholds of the model, and the hashes of its files.",
            (schema.ModelInfo, schema.ModelInfoByTask),
            *key,
        ),
    }
    info = {
        "title": "tokensieve",
        "description": "Labels for texts, with calibrated probabilities.",
        "version": __version__,
    }
    servers = {"servers": [{"url": root_path}]} if root_path else {}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": _schemas()}} | servers


def _posts(*key: int) -> dict[str, Any]:
    """Return the paths of the requests with a body. `key` is the status without the API key."""
    body = (*key, 408, 413, 415, 422, 503)
    return {
        "/predict": _post("predict", "Label one text, or several.", schema.PredictRequest, PREDICT, *body),
        "/explain": _post(
            "explain",
            "Return the words that decide the label of one text: the effect of removing each of them.",
            schema.ExplainRequest,
            EXPLAIN,
            *body,
        ),
        "/feedback": _post(
            "feedback",
            "Store a text with its right label, for the next training.",
            schema.FeedbackRequest,
            (schema.FeedbackResponse,),
            *(*body, 404, 429, 507),
            success=201,
        ),
    }


def _get(name: str, about: str, models: tuple[type[BaseModel], ...], *refused: int) -> dict[str, Any]:
    return {"get": _operation(name, about, models, *refused)}


def _post(
    name: str,
    about: str,
    asked: type[BaseModel],
    models: tuple[type[BaseModel], ...],
    *refused: int,
    success: int = 200,
) -> dict[str, Any]:
    content = {"application/json": {"schema": asked.model_json_schema()}}
    operation = _operation(name, about, models, *sorted(refused), success=success)
    return {"post": operation | {"requestBody": {"content": content, "required": True}}}


def _operation(
    name: str, about: str, models: tuple[type[BaseModel], ...], *refused: int, success: int = 200
) -> dict[str, Any]:
    """Return the description of one operation. Without `models`, its response is plain text."""
    references = [{"$ref": REFERENCE + model.__name__} for model in models]
    content = (
        {"application/json": {"schema": references[0] if len(references) == 1 else {"anyOf": references}}}
        if models
        else {"text/plain": {}}
    )
    error = {"application/json": {"schema": {"$ref": REFERENCE + schema.ErrorResponse.__name__}}}
    responses: dict[str, Any] = {str(success): {"description": "Success", "content": content}}
    responses |= {str(status): {"description": REFUSED[status], "content": error} for status in refused}
    return {"operationId": name, "summary": name.capitalize(), "description": about, "responses": responses}


def _schemas() -> dict[str, Any]:
    models = (
        *PREDICT,
        *EXPLAIN,
        schema.FeedbackResponse,
        schema.Index,
        schema.Health,
        schema.Readiness,
        schema.ModelInfo,
        schema.ModelInfoByTask,
    )
    _, found = models_json_schema(
        [(model, "serialization") for model in (*models, schema.ErrorResponse)],
        ref_template=REFERENCE + "{model}",
    )
    return dict(found["$defs"])
