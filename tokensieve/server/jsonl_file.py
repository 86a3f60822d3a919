"""A JSONL file that a server appends to, and that only its owner may read."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import logging
import os
import stat
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokensieve.errors import InputError

log = logging.getLogger("tokensieve")

LINE_START = b'{"text": '
MAX_LINE = 16 * 1024 * 1024  # bytes of an incomplete line that can be repaired


class JsonlFile:
    """An open JSONL file. Each object begins with the field text. Several threads may append."""

    def __init__(self, path: Path, name: str) -> None:
        """Open a file to append to it. `name` is its name in messages, such as prediction log.

        Raises:
            InputError: If it cannot be written, is not a file, or ends with an incomplete line that
                was not written here.
        """
        self._path, self._name = path, name
        self._lock = threading.Lock()
        self._file = _open(path, name)

    def reopen(self) -> bool:
        """Open the path again after a log rotation has renamed the file.

        If this fails, keep the open file and return False.
        """
        try:
            opened = _open(self._path, self._name)
        except InputError as error:
            log.warning("the %s was not opened again: %s", self._name, error)
            return False
        with self._lock:
            before, self._file = self._file, opened
        before.close()
        log.info("the %s was opened again: %s", self._name, self._path)
        return True

    def append(self, rows: Iterable[Mapping[str, Any]], most: int | None = None) -> bool:
        """Append one line per row, all or none.

        Return False, and write nothing, if the file would have more than `most` bytes.

        Raises:
            OSError: If the disk is full or fails.
        """
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        data = lines.encode("utf-8", "replace")
        with self._lock:
            end = os.fstat(self._file.fileno()).st_size
            if most is not None and end + len(data) > most:
                return False
            if self._file.write(data) < len(data):
                # An incomplete line would make the whole file unreadable.
                self._file.truncate(end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _open(path: Path, name: str) -> io.FileIO:
    """Open the file for appending, make it private, and remove an incomplete last line."""
    try:
        # O_NONBLOCK: opening a pipe without a reader would block.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); use another file for the {name}"
        ) from None
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):
            _make_private(path, descriptor, found)
            _remove_incomplete_line(path, descriptor, found.st_size)
        elif not stat.S_ISCHR(found.st_mode):
            raise InputError(
                f"{path} is not a regular file; use one for the {name}: a pipe without a reader would stop "
                "the server"
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
