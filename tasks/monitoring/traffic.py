"""Read a window of traffic from the prediction log of the server."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tokensieve.errors import InputError, excerpt

log = logging.getLogger("tokensieve")

MOST = 5000  # texts of a window; of more, the last ones count
LINE_START = '{"text": '  # of what the server writes
TOLERANCE = timedelta(minutes=5)  # by which the clock of the server may be ahead


@dataclass(frozen=True)
class Window:
    """Texts that the server answered, in their order.

    Attributes:
        texts: The texts.
        begin, end: The earliest and the latest time of an answer (ISO 8601).
    """

    texts: tuple[str, ...]
    begin: str
    end: str


def read_window(path: Path, after: str = "", task: str | None = None) -> Window:
    """Return the texts with an answer later than the time `after`.

    Lines with a time in the future are left out, with a warning: a window that ended there would
    hide the traffic until then.

    Args:
        path: The file that `tokensieve serve --log-texts` writes.
        after: A time as the log writes it. Empty: all texts.
        task: Of a model that several tasks share, the lines of this task count.

    Raises:
        InputError: If there is no such file, or if a line is not of a prediction log or has
            no date in `time`.
    """
    latest = datetime.now(UTC) + TOLERANCE
    # An earlier window may end in the future, if it was read when that was not checked.
    begin = min(_moment(after), datetime.now(UTC)) if after else None
    future: list[int] = []
    found: deque[tuple[str, str]] = deque(maxlen=MOST)
    try:
        for number, line in enumerate(_complete_lines(path), start=1):
            text, time, of_task = _read(path, number, line)
            moment = _dated(path, number, time)
            if moment > latest:
                future.append(number)
            elif (begin is None or moment > begin) and task in (None, of_task):
                found.append((text, time))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); name the file of tokensieve serve --log-texts"
        ) from None
    if future:
        log.warning(
            "warning: %s: %d lines have a time in the future and are left out, the first is line %d; set the "
            "clock of the server",
            path,
            len(future),
            future[0],
        )
    times = sorted((time for _, time in found), key=_moment)
    return Window(tuple(text for text, _ in found), *((times[0], times[-1]) if times else ("", "")))


def _complete_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file, without the last one if the server is writing it."""
    # Its last character may be incomplete, too.
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if not _is_incomplete(line):
                yield line


def _is_incomplete(line: str) -> bool:
    """Return whether a line is the beginning of one: no line end yet, and not JSON."""
    if line.endswith("\n") or not LINE_START.startswith(line[: len(LINE_START)]):
        return False
    try:
        json.loads(line)
    except ValueError:
        return True
    return False


def _moment(time: str) -> datetime:
    """Return an ISO 8601 time. Without a zone it is UTC."""
    moment = datetime.fromisoformat(time)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _dated(path: Path, number: int, time: str) -> datetime:
    try:
        return _moment(time)
    except ValueError:
        raise InputError(
            f"{path}, line {number}: time is {excerpt(time)}; give a date and time (ISO 8601), or remove "
            "the line"
        ) from None


def _read(path: Path, number: int, line: str) -> tuple[str, str, str | None]:
    """Return the text, the time and the task of a line."""
    try:
        row = json.loads(line)
        text, time, task = row["text"], row["time"], row.get("task")
        if isinstance(text, str) and isinstance(time, str):
            return text, time, task
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise InputError(
        f"{path}, line {number}: not a line of a prediction log; "
        "name the file of tokensieve serve --log-texts"
    )
