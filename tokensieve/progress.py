"""Log what is under way, so that a run whose output is piped is never silent for long."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SILENCE_SECONDS = 25.0  # after which a line is due: there is one every 30 seconds, then

log = logging.getLogger("tokensieve")


class _LastLine(logging.Filter):
    """Notes when a line was logged last. Lets all pass."""

    time = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        self.time = time.monotonic()
        return True


_last_line = _LastLine()


@contextmanager
def under_way(name: str, last: float | None = None) -> Iterator[None]:
    """Within it, log how long step `name` has taken whenever nothing else was logged for a while.

    `last` is the time that it took last time, in seconds.
    """
    log.addFilter(_last_line)
    over = threading.Event()
    thread = threading.Thread(
        target=_log_progress, args=[name, last, over], name=f"progress of {name}", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()


def _log_progress(name: str, last: float | None, over: threading.Event) -> None:
    start = time.monotonic()
    while not over.wait(max(1.0, max(start, _last_line.time) + SILENCE_SECONDS - time.monotonic())):
        if time.monotonic() - max(start, _last_line.time) >= SILENCE_SECONDS:
            estimate = f" (last time {last:.0f} s)" if last else ""
            log.info("%-10s %.0f s so far%s", name, time.monotonic() - start, estimate)
