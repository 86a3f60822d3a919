"""Ctrl-C and SIGTERM, on a terminal, in a pipe and from a supervisor: a sentence, the right exit status, no process left behind."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.conftest import BIN
from tokensieve.layout import Layout
from tokensieve.manifest import sha256

SENTENCE = "tokensieve: interrupted; the same command goes on where it stopped"
SECONDS = 5.0  # within which a command ends
INTERRUPT = b"\x03"  # what Ctrl-C types


@dataclass
class Ended:
    """How a command ended after a signal."""

    status: int
    seconds: float
    output: str
    left: list[str]


Interrupted = Callable[..., Ended]


@pytest.fixture
def interrupted(environment: dict[str, str], tmp_path: Path) -> Interrupted:
    """Run a command until it has printed `marker`, then send it the signals; with `terminal`, as its foreground process there.

    On a terminal SIGINT is typed, so that all processes of the group get it; else a signal goes to the command's process alone.
    """

    def run(command: list[str], marker: str, *numbers: int, terminal: bool = False, after: float = 0.2, **variables: str) -> Ended:
        out, inside = pty.openpty() if terminal else os.pipe()
        program = [str(BIN / "tokensieve"), *command]
        process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *program] if terminal else program,
            stdin=inside if terminal else subprocess.DEVNULL,
            stdout=inside,
            stderr=inside,
            env=environment | variables,
            cwd=tmp_path,
            start_new_session=not terminal,
        )
        os.close(inside)
        output, started, children = b"", 0.0, {}
        while piece := _read(out):
            output += piece
            if not started and marker.encode() in output:
                time.sleep(after)
                children = _descendants(process.pid)
                started = time.monotonic()
                for place, number in enumerate(numbers):
                    if place:
                        time.sleep(0.3)
                    _send(out if terminal and number == signal.SIGINT else None, process.pid, number)
        status = process.wait(60)
        ended = time.monotonic() - started
        os.close(out)
        assert started, output.decode(errors="replace")
        end = time.monotonic() + 3.0
        while (left := _alive(children)) and time.monotonic() < end:
            time.sleep(0.2)
        return Ended(status, ended, output.decode(errors="replace"), left)

    return run


def _send(terminal: int | None, pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if terminal is None:
            os.kill(pid, number)
        else:
            os.write(terminal, INTERRUPT)


def _read(source: int) -> bytes:
    # A terminal whose last process has ended gives an error, not the end of the file.
    with contextlib.suppress(OSError):
        return os.read(source, 1 << 16)
    return b""


def _processes() -> dict[int, tuple[int, str, str]]:
    """Parent, state and command line of each process."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = (line.split(None, 3) for line in listed.splitlines())
    return {int(row[0]): (int(row[1]), row[2], row[3]) for row in rows if len(row) == 4}


def _descendants(pid: int) -> dict[int, str]:
    known, found, parents = _processes(), {}, [pid]
    while parents:
        parent = parents.pop()
        for child, (of, _, command) in known.items():
            if of == parent:
                found[child] = command
                parents.append(child)
    return found


def _alive(processes: dict[int, str]) -> list[str]:
    known = _processes()
    return [command for pid, command in processes.items() if pid in known and known[pid][2] == command and known[pid][1][0] != "Z"]


def _ended_well(ended: Ended, number: int) -> None:
    assert ended.status == 128 + number, ended.output
    assert ended.seconds < SECONDS, ended.output
    assert ended.output.count(SENTENCE) == 1
    assert ended.output.rstrip().endswith(SENTENCE)
    assert "Traceback" not in ended.output
    assert ended.left == []
