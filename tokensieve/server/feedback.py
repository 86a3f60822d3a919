"""/feedback: texts with the right labels, from people, in a file that `tokensieve data add` reads.

Off unless a file is named: no text is stored without it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tokensieve.broken_characters import count_control_characters
from tokensieve.errors import excerpt
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.prediction import SINGLE_TASK
from tokensieve.server.config import Limits
from tokensieve.server.jsonl_file import JsonlFile
from tokensieve.server.model_watcher import ModelWatcher
from tokensieve.server.request_body import read_body, read_text
from tokensieve.server.schema import FeedbackRequest, FeedbackResponse

PER_MINUTE = 60  # of all clients together
OFF = "feedback is off: the server stores no texts. Start it with --feedback FILE"

log = logging.getLogger("tokensieve")


class FeedbackLog:
    """A JSONL file with one line per correction, which only its owner may read.

    Fields: text, label (a list for a multi-label model), predicted, version, time. For a model that
    several tasks share also task. For a text of several columns also columns, with their values.
    """

    def __init__(self, path: Path, most: int) -> None:
        """Open a file to append to it. It gets at most `most` bytes.

        Raises:
            InputError: As `JsonlFile`.
        """
        self._file, self._most = JsonlFile(path, "feedback file"), most

    def reopen(self) -> None:
        """Open the path again after a log rotation. If this fails, keep the open file."""
        self._file.reopen()

    def write(self, row: dict[str, Any]) -> bool:
        """Append a line. Return False if the file is full.

        Raises:
            OSError: If the disk is full or fails.
        """
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        return self._file.append([row | {"time": time}], self._most)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class FeedbackEndpoint:
    """The endpoint of /feedback."""

    def __init__(self, watcher: ModelWatcher, limits: Limits, feedback: FeedbackLog | None) -> None:
        self._watcher, self._limits, self._log = watcher, limits, feedback
        self._rate = _Rate(PER_MINUTE)

    async def feedback(self, request: Request) -> Response:
        """Store a text with its right label.

        Raises:
            HTTPException: With status 404 if feedback is off, 415 or 422 for a request that is not
                valid, 429 if there are too many requests, 507 if the file or the disk is full.
        """
        if not self._log:
            raise HTTPException(404, OFF)
        if wait := self._rate.seconds_to_wait():
            detail = f"more than {PER_MINUTE} corrections per minute; try again later"
            raise HTTPException(429, detail, {"Retry-After": str(wait)})
        asked = await read_body(request, FeedbackRequest, "text and label")
        row = self._row(asked)
        try:
            # On a thread: a slow disk must not stop the event loop.
            stored = await asyncio.to_thread(self._log.write, row)
        except OSError as error:
            log.warning("feedback could not be stored: %s", error.strerror)
            raise HTTPException(507, f"the feedback could not be stored: {error.strerror}") from None
        if not stored:
            raise HTTPException(507, f"the feedback file is full ({self._limits.max_feedback} bytes)")
        body = FeedbackResponse(stored=True).model_dump_json()
        return Response(body, status_code=201, media_type="application/json")

    def _row(self, asked: FeedbackRequest) -> dict[str, Any]:
        model = self._watcher.current.model
        text = read_text(asked.text, model.text_rule, "text", self._limits)
        if not text.strip():
            raise HTTPException(422, "text is empty")
        if count_control_characters(text):
            raise HTTPException(422, "text has control characters, which no training accepts; remove them")
        tasks = model.tasks
        task = SINGLE_TASK if asked.task is None else asked.task
        if task not in tasks:
            raise HTTPException(422, f"task is {excerpt(task)}; allowed: {excerpt(', '.join(tasks))}")
        _refuse_labels(asked.label, tasks[task])
        row: dict[str, Any] = {"text": text, "label": asked.label, "predicted": asked.predicted}
        row |= {} if isinstance(asked.text, str) else {"columns": asked.text}
        return row | ({"task": task} if task else {}) | {"version": asked.version}


def _refuse_labels(label: str | list[str], manifest: Manifest) -> None:
    several = bool(manifest.thresholds)
    if isinstance(label, list) != several:
        wanted = "a list of labels" if several else "one label, as a string"
        raise HTTPException(422, f"label: the model needs {wanted}")
    for name in label if isinstance(label, list) else [label]:
        if name not in manifest.labels:
            raise HTTPException(422, f"label is {excerpt(name)}; use one of the labels of GET /model")


class _Rate:
    """A limit on requests per minute: a bucket that is filled at a constant rate."""

    def __init__(self, per_minute: int) -> None:
        self._most, self._left, self._filled = float(per_minute), float(per_minute), time.monotonic()

    def seconds_to_wait(self) -> int:
        """Count a request. Return 0 if it is allowed, otherwise the seconds until one will be."""
        now, per_second = time.monotonic(), self._most / 60
        self._left = min(self._most, self._left + (now - self._filled) * per_second)
        self._filled = now
        if self._left < 1:
            return max(1, round((1 - self._left) / per_second))
        self._left -= 1
        return 0
