"""A table of the predictions for texts whose label is known: which are wrong, and how surely."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tokensieve.data.examples import Examples
from tokensieve.data.safe_cells import safe_cell
from tokensieve.inference.decisions import DecisionRule, Decisions, Logits, certainty, decide

NAME = "predictions.csv"
COLUMNS = ("part", "row", "text", "label", "predicted", "probability", "second", "uncertain")
JOINED = "|"  # between the labels of a multi-label text, unless the data have another separator


def write_predictions(
    path: Path,
    parts: Mapping[str, tuple[Examples, Logits]],
    labels: Sequence[str],
    rule: DecisionRule,
    separator: str | None = None,
) -> None:
    """Write a CSV file with a row per text, in the columns `COLUMNS`.

    If the data have lines, there is a column `line` after `row`, and if they have ids, a column
    `data_id` at the end. A part without them has empty cells. No cell is a formula for a
    spreadsheet (`safe_cells.safe_cell`).

    `probability` is that of the predicted label. For multi-label data it is the certainty of the
    prediction, and `second` is the most probable label that is not given. `uncertain` is true or
    false.

    Args:
        path: The file.
        parts: The examples of each part, and their logits [texts, classes].
        labels: The names of the classes.
        rule: The decision rule.
        separator: Stands between the labels of a multi-label text.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        columns = [*COLUMNS]
        if any(examples.lines for examples, _ in parts.values()):
            columns.insert(columns.index("row") + 1, "line")
        if any(examples.ids for examples, _ in parts.values()):
            columns.append("data_id")
        writer.writerow(columns)
        for part, (examples, logits) in parts.items():
            for row in _rows(examples, decide(logits, rule), labels, rule, separator or JOINED):
                cells = {"part": part, "data_id": row.get("id", "")} | row
                writer.writerow([safe_cell(str(cells.get(name, ""))) for name in columns])


def _rows(
    examples: Examples, found: Decisions, labels: Sequence[str], rule: DecisionRule, separator: str
) -> Iterator[dict[str, str | int]]:
    if rule.thresholds:
        given = [np.flatnonzero(row) for row in found.labels]
        second = np.where(found.labels, -1.0, found.probabilities).argmax(1)
        shown = certainty(found.probabilities, np.array(rule.thresholds))
    else:
        given = list(found.labels)
        second = np.argsort(-found.probabilities, axis=1, kind="stable")[:, 1]
        shown = found.probabilities.max(1)
    for i, text in enumerate(examples.texts):
        yield {
            **examples.place_fields(i),
            "text": text.encode("utf-8", "replace").decode(),
            "label": separator.join(examples.labels[i]),
            "predicted": separator.join(labels[int(place)] for place in given[i]),
            "probability": f"{shown[i]:.4f}",
            "second": labels[int(second[i])] if len(given[i]) < len(labels) else "",
            "uncertain": str(not found.confident[i]).lower(),
        }
