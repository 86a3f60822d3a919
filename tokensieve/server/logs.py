"""Limit repeated log lines, so that clients cannot fill the disk with them."""

from __future__ import annotations

import logging
import time

MAX_LINES = 5  # of one kind per WINDOW
WINDOW = 60.0  # seconds


class RepeatFilter(logging.Filter):
    """Pass `MAX_LINES` warnings with the same wording per `WINDOW`, and count the rest."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, tuple[float, int]] = {}  # wording: window start, lines

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        kind, now = str(record.msg), time.monotonic()
        began, count = self._seen.get(kind, (now, 0))
        if now - began > WINDOW:
            if count > MAX_LINES:
                more = f"{count - MAX_LINES} more like this in the {now - began:.0f} s before"
                record.msg = f"{kind.rstrip()} ({more})"
            began, count = now, 0
        self._seen[kind] = (began, count + 1)
        return count < MAX_LINES


def limit_repeats() -> None:
    """Limit the lines in uvicorn's log that requests can cause."""
    logger = logging.getLogger("uvicorn.error")
    if not any(isinstance(one, RepeatFilter) for one in logger.filters):
        logger.addFilter(RepeatFilter())
