"""Run one command, and end it with all its descendants when the process that started this one ends.

Prefect's worker starts each run in a session of its own, so that a signal to a process group
misses it. This process adopts what its descendants leave behind, and so finds all of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time

import psutil

from flows.parent_process import call_when_ended

GRACE = 10.0  # seconds from SIGTERM to SIGKILL
REST = 3.0  # the same, for what the command leaves behind
INTERVAL = 0.1
# Of Linux's prctl.
SET_PDEATHSIG, SET_CHILD_SUBREAPER = 1, 36


def main(parent: int, command: list[str]) -> int:
    """Run `command` until it ends, `parent` ends or SIGTERM arrives.

    A second SIGTERM ends it at once.

    Returns:
        Its exit status, or 128 plus the number of the signal that ended it, as shells do.
    """
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: signals.append(number))
    _prctl(SET_CHILD_SUBREAPER, 1)
    child = subprocess.Popen(command, preexec_fn=_end_with_guard)  # noqa: PLW1509
    call_when_ended(parent, lambda: os.kill(os.getpid(), signal.SIGTERM))
    while child.poll() is None and not signals:
        time.sleep(INTERVAL)
    if child.poll() is None:
        child.terminate()
    end = time.monotonic() + GRACE
    while child.poll() is None and len(signals) < 2 and time.monotonic() < end:
        time.sleep(INTERVAL)
    _end_rest(0.0 if len(signals) > 1 else REST)
    status = child.wait()
    return status if status >= 0 else 128 - status


def _end_rest(seconds: float) -> None:
    """End all descendants: those that run after `seconds` are killed."""
    _send(signal.SIGTERM, rest := living_descendants(os.getpid()))
    psutil.wait_procs(rest, timeout=seconds)
    while rest := living_descendants(os.getpid()):
        _send(signal.SIGKILL, rest)
        psutil.wait_procs(rest, timeout=1.0)


def _send(number: signal.Signals, processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # its own parent collects it meanwhile
            process.send_signal(number)


def living_descendants(pid: int) -> list[psutil.Process]:
    """Return the descendants of a process, without zombies.

    Raises:
        psutil.NoSuchProcess: If there is no such process.
    """
    found = psutil.Process(pid).children(recursive=True)
    return [process for process in found if _is_alive(process)]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _end_with_guard() -> None:
    """Let the kernel end the child if this process is killed."""
    _prctl(SET_PDEATHSIG, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
