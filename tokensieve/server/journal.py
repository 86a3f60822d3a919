"""The texts that were answered, in a file that retraining can read. Written only where the operator asks for it."""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tokensieve.errors import InputError
from tokensieve.predictor import ONLY, LabelSet, Prediction
from tokensieve.served import Answers

log = logging.getLogger("tokensieve")

SEPARATOR = "|"


class Journal:
    """JSON lines: text, label (several with | between), probability, uncertain, version, time, and where several tasks share the model,
    a line for each with its task. Only the owner may read the file."""

    def __init__(self, path: Path) -> None:
        """Open `path` to go on at its end. Raises InputError: it cannot be written."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror}); name another file for the texts") from None
        # Without a buffer: what the disk did not take once is not tried again with every later line.
        self._file = os.fdopen(descriptor, "ab", buffering=0)
        self._lock = threading.Lock()
        self._failed = False

    def write(self, texts: list[str], answers: Answers, version: str) -> None:
        """Add a line a text and task, at once. That the disk takes none is logged, once: the answers are worth more than the journal."""
        of = {"version": version, "time": datetime.now(UTC).isoformat(timespec="milliseconds")}
        lines = []
        for task, found in answers.items():
            of_task = of if task == ONLY else {"task": task} | of
            for text, answer in zip(texts, found, strict=True):
                lines.append(json.dumps({"text": text} | _said(answer) | of_task, ensure_ascii=False) + "\n")
        data = "".join(lines).encode("utf-8", "replace")
        with self._lock:
            try:
                end = os.fstat(self._file.fileno()).st_size
                if self._file.write(data) < len(data):
                    # Half a line would make the whole file unreadable.
                    self._file.truncate(end)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                if not self._failed:
                    log.warning("texts are not kept any more: %s", error.strerror)
                self._failed = True

    def close(self) -> None:
        self._file.close()


def _said(answer: Prediction | LabelSet) -> dict[str, Any]:
    if isinstance(answer, LabelSet):
        said = {"label": SEPARATOR.join(label for label, _ in answer.labels), "probability": answer.top[0][1]}
    else:
        said = {"label": answer.label, "probability": answer.probability}
    return said | {"uncertain": answer.uncertain}
