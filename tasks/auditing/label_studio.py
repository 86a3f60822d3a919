"""The rows to look at as tasks of Label Studio, with the suggested label as a prediction.

The project there needs a text with the name `text` and choices with the name `right_label`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MODEL = "tokensieve audit"


def label_studio_tasks(table: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return a task per row of a review, in the JSON format that Label Studio imports.

    Args:
        table: The cells of each row by column, as `review_file.review_cells` returns them.
    """
    return [{"data": dict(cells), "predictions": _predictions(cells)} for cells in table]


def _predictions(cells: Mapping[str, str]) -> list[dict[str, Any]]:
    suggested = cells["suggested_label"]
    if not suggested:
        return []
    choice = {
        "from_name": "right_label",
        "to_name": "text",
        "type": "choices",
        "value": {"choices": [suggested]},
    }
    score = cells["suggested_probability"]
    return [{"model_version": MODEL, "result": [choice]} | ({"score": float(score)} if score else {})]
