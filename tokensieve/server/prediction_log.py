"""The texts that were answered, in a file that retraining can read. Written only where the operator asks for it."""

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
from tokensieve.inference.load import Answers
from tokensieve.inference.predictor import ONLY, LabelSet, Prediction

log = logging.getLogger("tokensieve")

SEPARATOR = "|"
BEGIN = b'{"text": '  # of every line
LINE = 16 * 1024 * 1024  # bytes of the longest half line that is looked for


class PredictionLog:
    """JSON lines: text, label (several with | between), probability, uncertain, version, time, and where several tasks share the model,
    a line for each with its task. Only the owner may read the file."""

    def __init__(self, path: Path) -> None:
        """Open `path` to go on at its end.

        Raises:
            InputError: If it cannot be written, is not a file, or ends in something other than a line of this log.
        """
        self._path = path
        self._lock = threading.Lock()
        self._failed = False
        self._file = _opened(path)

    def reopen(self) -> None:
        """Open the path again, which a log rotation has renamed. If that fails, the file before is kept."""
        try:
            opened = _opened(self._path)
        except InputError as error:
            log.warning("the log of texts was not opened again: %s", error)
            return
        with self._lock:
            before, self._file, self._failed = self._file, opened, False
        before.close()
        log.info("the log of texts was opened again: %s", self._path)

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


def _opened(path: Path) -> io.FileIO:
    """Return the log, open to add to, readable by its owner alone, and ending in a whole line."""
    try:
        # O_NONBLOCK: to open a pipe that nobody reads would wait for ever.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); name another file for the texts"
        ) from None
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):
            _keep_private(path, descriptor, found)
            _end_in_a_line(path, descriptor, found.st_size)
        elif not stat.S_ISCHR(found.st_mode):
            raise InputError(
                f"{path} is not a file; name a file for the texts: a pipe that is not read would stop the server"
            )
    except BaseException:
        os.close(descriptor)
        raise
    # Without a buffer: what the disk did not take once is not tried again with every later line.
    return io.FileIO(descriptor, "ab")


def _keep_private(path: Path, descriptor: int, found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        try:
            os.fchmod(descriptor, mode & 0o700)
        except OSError as error:
            remedy = f"chmod 600 {path}, or name another file"
            raise InputError(
                f"{path} may be read by others (mode {mode:04o}) and cannot be changed ({error.strerror}); {remedy}"
            ) from None
        log.warning("%s could be read by others (mode %04o); now by its owner alone", path, mode)


def _end_in_a_line(path: Path, descriptor: int, size: int) -> None:
    """Remove the half line that a crash may have left at the end: it would make the whole file unreadable.

    Raises:
        InputError: If the end is not of this log, so that it is not ours to remove.
    """
    start = max(0, size - LINE)
    tail = os.pread(descriptor, size - start, start)
    whole = tail.rfind(b"\n") + 1
    half = tail[whole:]
    if not half:
        return
    if not half.startswith(BEGIN[: len(half)]) or (whole == 0 and start > 0):
        raise InputError(
            f"{path} ends in half a line that is not of this log; name another file for the texts, or end its last line"
        )
    with contextlib.suppress(ValueError):
        json.loads(half)
        os.write(descriptor, b"\n")  # only the line end is missing
        return
    os.ftruncate(descriptor, start + whole)
    log.warning("%s ended in half a line of %d bytes, which was removed", path, len(half))


def _said(answer: Prediction | LabelSet) -> dict[str, Any]:
    if isinstance(answer, LabelSet):
        said = {"label": SEPARATOR.join(label for label, _ in answer.labels), "probability": answer.top[0][1]}
    else:
        said = {"label": answer.label, "probability": answer.probability}
    return said | {"uncertain": answer.uncertain}
