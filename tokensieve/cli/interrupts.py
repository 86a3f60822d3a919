"""Ctrl-C and SIGTERM: a command ends within seconds, and the same command can continue later.

The files of a command survive `kill -9`, so ending it at once does no harm. An orderly end is tried
first, because then Prefect records the run as crashed. Python's handler in C writes each signal to
a pipe, and a thread reads the pipe. So a signal is noticed even while the main thread computes in
C, or after a library has replaced the handler in Python.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

GRACE_SECONDS = 3.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = "interrupted; the same command goes on where it stopped"

_at_end: list[Callable[[], object]] = []


class Interrupts:
    """The first signal of SIGNALS that arrived, if any. `line` is what the log gets then."""

    def __init__(self, line: str = f"tokensieve: {INTERRUPTED}") -> None:
        self.number = 0
        self._line = line
        self._announced = threading.Lock()

    @property
    def status(self) -> int:
        """Return the exit status that shells use for a program ended by a signal."""
        return 128 + self.number

    def announce(self) -> None:
        """Print that the command was interrupted, once."""
        if self._announced.acquire(blocking=False):
            # Not print: the main thread may hold the lock of sys.stderr.
            with contextlib.suppress(OSError):
                os.write(2, f"{self._line}\n".encode())

    def watch(self, pipe: int) -> None:
        """Wait for a signal. End the process at the next one, or after GRACE_SECONDS."""
        number = _read(pipe)
        if not number:
            return
        self.number = self.number or number
        end = time.monotonic() + GRACE_SECONDS
        if _read(pipe, end) is None:
            return
        self.end()

    def end(self) -> None:
        """End the process and its child processes at once."""
        for action in _at_end:
            with contextlib.suppress(Exception):
                action()
        self.announce()
        os._exit(self.status)


@contextlib.contextmanager
def watched(line: str) -> Iterator[Interrupts]:
    """Raise KeyboardInterrupt in the block for SIGINT and SIGTERM.

    The process is ended if it still runs after GRACE_SECONDS. `line` is written to standard error.

    A signal that is ignored, as SIGINT is in a script's background, stays so.
    """
    interrupts = Interrupts(line)
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return

    def raised(number: int, _: object) -> None:
        interrupts.number = interrupts.number or number
        raise KeyboardInterrupt

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, raised) for number in heeded}
    pipe_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=interrupts.watch, args=[reader], name="interrupts", daemon=True).start()
    try:
        with _without_swallowed_interrupts():
            yield interrupts
    finally:
        signal.set_wakeup_fd(pipe_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writer)


@contextlib.contextmanager
def _without_swallowed_interrupts() -> Iterator[None]:
    """Print no stack trace if a signal arrives in a finalizer, where Python ignores exceptions.

    The thread of `watched` ends the process then.
    """
    before = sys.unraisablehook

    def hook(found: sys.UnraisableHookArgs) -> None:
        if not issubclass(found.exc_type, KeyboardInterrupt):
            before(found)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextlib.contextmanager
def ended_with(action: Callable[[], object]) -> Iterator[None]:
    """Call `action` before the process is ended for a signal, as long as the block runs."""
    _at_end.append(action)
    try:
        yield
    finally:
        _at_end.remove(action)


def _read(pipe: int, end: float | None = None) -> int | None:
    """Return the next of SIGNALS that is written to `pipe`.

    Return 0 after the time `end`, and None if the pipe is closed.
    """
    while True:
        left = None if end is None else max(end - time.monotonic(), 0.0)
        if not select.select([pipe], [], [], left)[0]:
            return 0
        read = os.read(pipe, 1)
        if not read:
            os.close(pipe)
            return None
        if read[0] in SIGNALS:
            return read[0]
