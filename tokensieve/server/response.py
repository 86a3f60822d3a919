"""The body of an answer, as `schema` describes it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tokensieve.inference.load import Answers, Model
from tokensieve.inference.predictor import ONLY, LabelSet, Prediction


def response_body(answers: Answers, many: bool, model: Model, version: str) -> bytes:
    """Return the JSON of the answers of a model: of a list of texts if `many`, otherwise of one.

    Raises:
        ValueError: If a probability is not finite, or a label cannot be encoded.
    """
    of: dict[str, Any]
    if ONLY in answers:
        trees = [_tree(answer) for answer in answers[ONLY]]
        of = {"version": version, "data_hash": model.tasks[ONLY].data_hash}
    else:
        texts = zip(*answers.values(), strict=True)
        trees = [
            {"tasks": {task: _tree(answer) for task, answer in zip(answers, text, strict=True)}}
            for text in texts
        ]
        of = {
            "version": version,
            "data_hashes": {task: manifest.data_hash for task, manifest in model.tasks.items()},
        }
    tree = {"predictions": trees} | of if many else trees[0] | of
    return json.dumps(tree, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _tree(found: Prediction | LabelSet) -> dict[str, Any]:
    doubts = {"uncertain": found.uncertain, "truncated": found.truncated, "top": _candidates(found.top)}
    if isinstance(found, LabelSet):
        return {"labels": _candidates(found.labels)} | doubts
    return {"label": found.label, "probability": found.probability} | doubts


def _candidates(labels: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"label": label, "probability": probability} for label, probability in labels]
