"""Write texts and their predictions to a JSONL file that retraining can read.

Off unless a file is named.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tokensieve.inference.load import PredictionsByTask
from tokensieve.inference.prediction import SINGLE_TASK, Prediction
from tokensieve.server.jsonl_file import JsonlFile

log = logging.getLogger("tokensieve")

SEPARATOR = "|"


class PredictionLog:
    """A JSONL file with one line per text, which only its owner may read.

    Fields: text, label (several are joined by |), probability, uncertain, version, time. For a
    model that several tasks share, there is one line per text and task, with the field task.
    """

    def __init__(self, path: Path) -> None:
        """Open a file to append to it.

        Raises:
            InputError: As `JsonlFile`.
        """
        self._file = JsonlFile(path, "prediction log")
        self._failed = False

    def reopen(self) -> None:
        """Open the path again after a log rotation has renamed the file.

        If this fails, keep the open file.
        """
        if self._file.reopen():
            self._failed = False

    def write(self, texts: list[str], by_task: PredictionsByTask, version: str) -> None:
        """Append one line per text and task.

        If the disk is full, this is logged once, and requests are still answered.
        """
        origin = {"version": version, "time": datetime.now(UTC).isoformat(timespec="milliseconds")}
        rows = []
        for task, predictions in by_task.items():
            of_task = origin if task == SINGLE_TASK else {"task": task} | origin
            for text, prediction in zip(texts, predictions, strict=True):
                rows.append({"text": text} | _fields(prediction) | of_task)
        try:
            self._file.append(rows)
        except OSError as error:
            if not self._failed:
                log.warning("texts are no longer written to the prediction log: %s", error.strerror)
            self._failed = True

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _fields(prediction: Prediction) -> dict[str, Any]:
    if prediction.multi_label:
        fields = {
            "label": SEPARATOR.join(label for label, _ in prediction.labels),
            "probability": prediction.top[0][1],
        }
    else:
        fields = {"label": prediction.label, "probability": prediction.probability}
    return fields | {"uncertain": prediction.uncertain}
