"""Read a window of traffic from the prediction log of the server."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from tokensieve.errors import InputError

MOST = 5000  # texts of a window; of more, the last ones count


@dataclass(frozen=True)
class Window:
    """Texts that the server answered, in their order.

    Attributes:
        texts: The texts.
        begin, end: The times of the first and the last answer (ISO 8601).
    """

    texts: tuple[str, ...]
    begin: str
    end: str


def read_window(path: Path, after: str = "", task: str | None = None) -> Window:
    """Return the texts with an answer later than the time `after`.

    Args:
        path: The file that `tokensieve serve --log-texts` writes.
        after: A time as the log writes it. Empty: all texts.
        task: Of a model that several tasks share, the lines of this task count.

    Raises:
        InputError: If there is no such file, or if a line is not of a prediction log.
    """
    found: deque[tuple[str, str]] = deque(maxlen=MOST)
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                text, time, of_task = _read(path, number, line)
                if time > after and task in (None, of_task):
                    found.append((text, time))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); name the file of tokensieve serve --log-texts"
        ) from None
    times = [time for _, time in found]
    return Window(tuple(text for text, _ in found), *((times[0], times[-1]) if times else ("", "")))


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
