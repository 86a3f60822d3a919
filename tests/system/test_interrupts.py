"""Ctrl-C and SIGTERM, on a terminal, in a pipe and from a supervisor: a sentence, the right exit
status, no process left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import socket
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.conftest import BIN
from tokensieve.files import sha256
from tokensieve.project import Layout

SENTENCE = "tokensieve: interrupted; the same command goes on where it stopped"
SECONDS = 20.0  # within which a command ends on a busy machine; nothing is waited for
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
    """Run a command until it has printed `marker`, then send it the signals; with `terminal`, as
    its foreground process there.

    `ready`, if given, is called instead of the wait of `after` seconds.

    On a terminal SIGINT is typed, so that all processes of the group get it; else a signal goes to
    the command's process alone.
    """

    def run(
        command: list[str],
        marker: str,
        *numbers: int,
        terminal: bool = False,
        after: float = 0.2,
        ready: Callable[[], object] | None = None,
        **variables: str,
    ) -> Ended:
        out, inside = pty.openpty() if terminal else os.pipe()
        process = subprocess.Popen(
            [str(BIN / "tokensieve"), *command],
            stdin=inside if terminal else subprocess.DEVNULL,
            stdout=inside,
            stderr=inside,
            env=environment | variables,
            cwd=tmp_path,
            start_new_session=True,
            # Makes the terminal that of the new session, so that Ctrl-C reaches the whole
            # foreground group.
            preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if terminal else None,  # noqa: PLW1509
        )
        os.close(inside)
        output = b""
        while marker.encode() not in output and (piece := _read(out)):
            output += piece
        if ready:
            ready()
        else:
            time.sleep(after)
        children = _descendants(process.pid)
        started = time.monotonic()
        for place, number in enumerate(numbers):
            time.sleep(0.3 if place else 0.0)
            _send(out if terminal and number == signal.SIGINT else None, process.pid, number)
        while piece := _read(out):
            output += piece
        status = process.wait(60)
        ended = time.monotonic() - started
        os.close(out)
        assert marker.encode() in output, output.decode(errors="replace")
        # The temporary server of a killed run first marks it as crashed.
        end = time.monotonic() + 60.0
        while (left := _alive(children)) and time.monotonic() < end:
            time.sleep(0.2)
        return Ended(status, ended, output.decode(errors="replace"), left)

    return run


@contextlib.contextmanager
def silent_server() -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the address of a server that never responds, and what waits for its next client."""
    with socket.create_server(("127.0.0.1", 0)) as silent, contextlib.ExitStack() as clients:
        silent.settimeout(90)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        yield address, lambda: clients.enter_context(silent.accept()[0])


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
    listed = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout
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
    return [
        command
        for pid, command in processes.items()
        if pid in known and known[pid][2] == command and known[pid][1][0] != "Z"
    ]


def _ended_well(ended: Ended, number: int) -> None:
    assert ended.status == 128 + number, ended.output
    assert ended.seconds < SECONDS, ended.output
    assert ended.output.count(SENTENCE) == 1
    assert ended.output.rstrip().endswith(SENTENCE)
    assert "Traceback" not in ended.output
    assert ended.left == []


# What a run has printed when the signal comes, the signals, and whether they come from a terminal.
STEPS = (
    ("validate   ...", (signal.SIGINT,), True),
    ("mask       ...", (signal.SIGTERM,), False),
    ("epoch 1 of", (signal.SIGINT,), True),
    ("export     ...", (signal.SIGTERM, signal.SIGTERM), False),
    ("register   ...", (signal.SIGINT,), False),
)


@pytest.mark.timeout(1200)
def test_a_run_that_is_interrupted_in_every_stage_ends_at_once_and_is_finished_by_the_same_command(
    interrupted: Interrupted,
    tokensieve: Callable[..., subprocess.CompletedProcess[str]],
    small: list[str],
    data_file: Path,
    tmp_path: Path,
) -> None:
    command = ["run", "--project", "project", "--data", str(data_file), *small]
    for marker, numbers, terminal in STEPS:
        _ended_well(interrupted(command, marker, *numbers, terminal=terminal), numbers[0])
    assert tokensieve(*command).returncode == 0

    other = tokensieve("run", "--project", "other", "--data", str(data_file), *small)
    assert other.returncode == 0, other.stderr
    first, second = Layout(tmp_path / "project"), Layout(tmp_path / "other")
    for name in ("model.onnx", "tokenizer.json"):
        assert sha256(first.onnx / name) == sha256(second.onnx / name)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_while_the_temporary_server_starts_ends_it_too(
    number: int, interrupted: Interrupted, small: list[str], data_file: Path
) -> None:
    command = ["run", "--project", "project", "--data", str(data_file), *small]
    ended = interrupted(command, "start      ...", number, terminal=number == signal.SIGINT, after=1.0)
    if number == signal.SIGKILL:
        assert ended.status == -number
        assert ended.left == []
    else:
        _ended_well(ended, number)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_all_training_processes(
    number: int, interrupted: Interrupted, small: list[str], data_file: Path
) -> None:
    command = [
        "run",
        "--project",
        "project",
        "--data",
        str(data_file),
        *small,
        "finetune.processes=2",
        "finetune.max_epochs=50",
    ]
    ended = interrupted(command, "epoch 1 of", number, terminal=number == signal.SIGINT)
    if number == signal.SIGKILL:
        assert ended.left == []
    else:
        _ended_well(ended, number)


@pytest.mark.timeout(600)
def test_a_signal_while_a_server_does_not_answer_is_not_waited_for(
    interrupted: Interrupted, small: list[str], data_file: Path
) -> None:
    with silent_server() as (address, connected):
        command = ["run", "--project", "project", "--data", str(data_file), *small]
        ended = interrupted(
            command, "start      ...", signal.SIGTERM, ready=connected, PREFECT_API_URL=f"{address}/api"
        )
        _ended_well(ended, signal.SIGTERM)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["data", "predict"])
def test_other_commands_end_as_well(name: str, number: int, interrupted: Interrupted, tmp_path: Path) -> None:
    with silent_server() as (address, connected):
        command = {
            "data": [
                "data",
                "add",
                "--project",
                "project",
                "--data",
                f"{address}/texts.csv",
                "--set",
                "finetune.max_epochs=2",
            ],
            "predict": ["predict", "--project", "project", "--model", "models:/any@champion", "text"],
        }[name]
        ended = interrupted(command, "", number, ready=connected, MLFLOW_TRACKING_URI=address)
        _ended_well(ended, number)
