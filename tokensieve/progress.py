"""Log the progress of a long step, so that a log file gets a line at least every 30 seconds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

SILENCE_SECONDS = 25.0  # after so long without a line in the log, one is written
CHECK_SECONDS = 1.0  # how often it is checked at most

log = logging.getLogger("tokensieve")


class _LastLine(logging.Filter):
    """Store the time of the last line that passes: all lines do, unless they are hidden.

    While they are, warnings and the lines of `log_while_running` pass.
    """

    time = 0.0
    hides = False

    def filter(self, record: logging.LogRecord) -> bool:
        if self.hides and record.levelno < logging.WARNING and record.funcName != _log_progress.__name__:
            return False
        self.time = time.monotonic()
        return True


class Shown(Protocol):
    """A progress bar."""

    def state(self) -> str:
        """Return how far it is, in words."""


_last_line = _LastLine()
_hidden = threading.Event()  # no bar is shown
open_bars: list[Shown] = []  # of the steps that are running, the outermost first


def hide_bars() -> None:
    """Show no progress bars from now on, on a terminal either."""
    _hidden.set()


def bars_hidden() -> bool:
    """Return whether progress bars are hidden."""
    return _hidden.is_set()


@contextmanager
def hidden_lines() -> Iterator[None]:
    """Log only warnings, and how long the step has run, while the block runs."""
    log.addFilter(_last_line)
    _last_line.hides = True
    try:
        yield
    finally:
        _last_line.hides = False


@contextmanager
def log_while_running(name: str, last: float | None = None) -> Iterator[None]:
    """Run the block, and log how long it has run if nothing else is logged for `SILENCE_SECONDS`.

    The line has the states of the outermost and the innermost progress bar, too.

    `name` is the name of the step. `last` is its duration in the last run, in seconds, and is
    logged too.
    """
    log.addFilter(_last_line)
    finished = threading.Event()
    thread = threading.Thread(
        target=_log_progress, args=[name, last, finished], name=f"progress of {name}", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        finished.set()


def _log_progress(name: str, last: float | None, finished: threading.Event) -> None:
    start = time.monotonic()

    def silent() -> float:
        return time.monotonic() - max(start, _last_line.time)

    while not finished.wait(max(CHECK_SECONDS, SILENCE_SECONDS - silent())):
        if silent() >= SILENCE_SECONDS:
            estimate = f" (last time {last:.0f} s)" if last else ""
            bars = [*open_bars[:1], *open_bars[1:][-1:]]
            state = "; ".join(bar.state() for bar in bars)
            so_far = f"{time.monotonic() - start:.0f} s so far{estimate}"
            log.info("%-10s %s%s", name, so_far, f": {state}" if state else "")
