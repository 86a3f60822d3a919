"""Write texts and their predictions to a JSONL file that retraining can read.

Off unless a file is named.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import logging
import os
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tokensieve.errors import InputError
from tokensieve.inference.load import PredictionsByTask
from tokensieve.inference.prediction import SINGLE_TASK, Prediction

log = logging.getLogger("tokensieve")

SEPARATOR = "|"
LINE_START = b'{"text": '
MAX_LINE = 16 * 1024 * 1024  # bytes of an incomplete line that can be repaired


class PredictionLog:
    """A JSONL file with one line per text, which only its owner may read.

    Fields: text, label (several are joined by |), probability, uncertain, version, time. For a
    model that several tasks share, there is one line per text and task, with the field task.
    """

    def __init__(self, path: Path) -> None:
        """Open a file to append to it.

        Raises:
            InputError: If it cannot be written, is not a file, or ends with an incomplete line not
                of this log.
        """
        self._path = path
        self._lock = threading.Lock()
        self._failed = False
        self._file = _open(path)

    def reopen(self) -> None:
        """Open the path again after a log rotation has renamed the file.

        If this fails, keep the open file.
        """
        try:
            opened = _open(self._path)
        except InputError as error:
            log.warning("the prediction log was not opened again: %s", error)
            return
        with self._lock:
            before, self._file, self._failed = self._file, opened, False
        before.close()
        log.info("the prediction log was opened again: %s", self._path)

    def write(self, texts: list[str], by_task: PredictionsByTask, version: str) -> None:
        """Append one line per text and task.

        If the disk is full, this is logged once, and requests are still answered.
        """
        origin = {"version": version, "time": datetime.now(UTC).isoformat(timespec="milliseconds")}
        lines = []
        for task, predictions in by_task.items():
            of_task = origin if task == SINGLE_TASK else {"task": task} | origin
            for text, prediction in zip(texts, predictions, strict=True):
                lines.append(
                    json.dumps({"text": text} | _fields(prediction) | of_task, ensure_ascii=False) + "\n"
                )
        data = "".join(lines).encode("utf-8", "replace")
        with self._lock:
            try:
                end = os.fstat(self._file.fileno()).st_size
                if self._file.write(data) < len(data):
                    # An incomplete line would make the whole file unreadable.
                    self._file.truncate(end)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                if not self._failed:
                    log.warning("texts are no longer written to the prediction log: %s", error.strerror)
                self._failed = True

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _open(path: Path) -> io.FileIO:
    """Open the file for appending, make it private, and remove an incomplete last line."""
    try:
        # O_NONBLOCK: opening a pipe without a reader would block.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); use another file for the prediction log"
        ) from None
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):
            _make_private(path, descriptor, found)
            _remove_incomplete_line(path, descriptor, found.st_size)
        elif not stat.S_ISCHR(found.st_mode):
            raise InputError(
                f"{path} is not a regular file; use one for the prediction log: a pipe without a reader "
                "would stop the server"
            )
    except BaseException:
        os.close(descriptor)
        raise
    # Unbuffered: a line that could not be written once is not tried again with each later line.
    return io.FileIO(descriptor, "ab")


def _make_private(path: Path, descriptor: int, found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        try:
            os.fchmod(descriptor, mode & 0o700)
        except OSError as error:
            remedy = f"run chmod 600 {path}, or use another file"
            raise InputError(
                f"{path} can be read by others (mode {mode:04o}), and its mode cannot be changed "
                f"({error.strerror}); {remedy}"
            ) from None
        log.warning(
            "%s could be read by others (mode %04o); its mode is now changed so that only its owner can",
            path,
            mode,
        )


def _remove_incomplete_line(path: Path, descriptor: int, size: int) -> None:
    """Remove an incomplete line that a crash has left at the end.

    It would make the whole file unreadable.

    Raises:
        InputError: If the incomplete line was not written by this log.
    """
    start = max(0, size - MAX_LINE)
    tail = os.pread(descriptor, size - start, start)
    complete = tail.rfind(b"\n") + 1
    half = tail[complete:]
    if not half:
        return
    if not half.startswith(LINE_START[: len(half)]) or (complete == 0 and start > 0):
        raise InputError(
            f"{path} ends with an incomplete line that is not of this log; use another file, or complete "
            "that line"
        )
    with contextlib.suppress(ValueError):
        json.loads(half)
        os.write(descriptor, b"\n")  # only the newline is missing
        return
    os.ftruncate(descriptor, start + complete)
    log.warning("%s ended with an incomplete line of %d bytes, which was removed", path, len(half))


def _fields(prediction: Prediction) -> dict[str, Any]:
    if prediction.multi_label:
        fields = {
            "label": SEPARATOR.join(label for label, _ in prediction.labels),
            "probability": prediction.top[0][1],
        }
    else:
        fields = {"label": prediction.label, "probability": prediction.probability}
    return fields | {"uncertain": prediction.uncertain}
