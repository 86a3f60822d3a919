"""The rows to look at as tasks of Label Studio, with the suggested label as a prediction.

The project there needs a text with the name `text` and choices with the name `right_label`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.auditing.audited_texts import split_labels

MODEL = "tokensieve audit"


def label_studio_tasks(table: Sequence[Mapping[str, str]], multi_label: bool) -> list[dict[str, Any]]:
    """Return a task per row of a review, in the JSON format that Label Studio imports.

    Args:
        table: The cells of each row by column, as `review_file.review_cells` returns them.
        multi_label: Whether a text may have any number of labels.
    """
    return [{"data": dict(cells), "predictions": _predictions(cells, multi_label)} for cells in table]


def _predictions(cells: Mapping[str, str], multi_label: bool) -> list[dict[str, Any]]:
    suggested = cells["suggested_label"]
    if not suggested:
        return []
    choices = list(split_labels(suggested)) if multi_label else [suggested]
    choice = {
        "from_name": "right_label",
        "to_name": "text",
        "type": "choices",
        "value": {"choices": choices},
    }
    score = cells["suggested_probability"]
    return [{"model_version": MODEL, "result": [choice]} | ({"score": float(score)} if score else {})]
