"""The guard ends a command with all its descendants, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tokensieve import packages

# Starts a process in a session of its own that ignores SIGTERM, writes its id, and waits for a
# file.
PARENT = """
import pathlib, subprocess, sys, time
child = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(120)"
)
started = subprocess.Popen([sys.executable, "-c", child], start_new_session=True, stdout=subprocess.PIPE)
started.stdout.readline()
pathlib.Path(sys.argv[1]).write_text(str(started.pid))
end = pathlib.Path(sys.argv[2])
while not end.exists():
    time.sleep(0.05)
sys.exit(7)
"""
# Starts a guard as `tokensieve up` does, and waits.
STARTER = """
import os, subprocess, sys, time
subprocess.Popen([*sys.argv[1:6], str(os.getpid()), *sys.argv[6:]], start_new_session=True)
time.sleep(120)
"""


@pytest.fixture
def note(tmp_path: Path) -> Path:
    return tmp_path / "pid"


def _wait(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def _child(note: Path) -> psutil.Process:
    _wait(lambda: note.exists() and note.read_text())
    return psutil.Process(int(note.read_text()))


def _runs(process: psutil.Process) -> bool:
    """Return whether it runs. A zombie, which waits for PID 1 to collect it, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _guarded(note: Path) -> list[str]:
    return [sys.executable, "-c", PARENT, str(note), str(note.with_name("end"))]


@pytest.fixture(params=["SIGTERM", "end"])
def guard(request: pytest.FixtureRequest, note: Path) -> tuple[subprocess.Popen[bytes], str]:
    command = packages.command("flows.up.guard", str(os.getpid()), *_guarded(note))
    return subprocess.Popen(command, start_new_session=True), request.param


def test_nothing_is_left_after_sigterm_or_the_commands_end(
    guard: tuple[subprocess.Popen[bytes], str], note: Path
) -> None:
    process, way = guard
    child = _child(note)
    if way == "SIGTERM":
        process.send_signal(signal.SIGTERM)
    else:
        note.with_name("end").touch()
    assert process.wait(60) == (7 if way == "end" else 128 + signal.SIGTERM)
    assert not _runs(child)


def test_nothing_is_left_after_the_parent_was_killed(note: Path) -> None:
    command = packages.command("flows.up.guard")
    starter = subprocess.Popen([sys.executable, "-c", STARTER, *command, *_guarded(note)])
    child = _child(note)
    (guard,) = psutil.Process(starter.pid).children()
    starter.kill()
    starter.wait()
    _wait(lambda: not _runs(child) and not _runs(guard))
