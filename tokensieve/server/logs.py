"""What the service writes to its log: a line per kind of fault, however often clients cause it."""

from __future__ import annotations

import logging
import time

MOST = 5  # lines of one kind per WINDOW
WINDOW = 60.0  # seconds


class RepeatFilter(logging.Filter):
    """Lets `MOST` lines of the same wording through per `WINDOW`, so that no client can fill the disk. The rest is counted."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        kind, now = str(record.msg), time.monotonic()
        began, count = self._seen.get(kind, (now, 0))
        if now - began > WINDOW:
            if count > MOST:
                record.msg = (
                    f"{kind.rstrip()} ({count - MOST} more like this in the {now - began:.0f} s before)"
                )
            began, count = now, 0
        self._seen[kind] = (began, count + 1)
        return count < MOST


def limit_repeats() -> None:
    """Limit the lines that requests can cause in uvicorn's log."""
    logger = logging.getLogger("uvicorn.error")
    if not any(isinstance(one, RepeatFilter) for one in logger.filters):
        logger.addFilter(RepeatFilter())
