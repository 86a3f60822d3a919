"""The server that the command line uses: a configured one that does not answer, and temporary ones
of two first runs at once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.conftest import BIN, Start, free_port, wait_for

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.timeout(600)
def test_a_configured_server_that_does_not_answer_is_named(
    tokensieve: Run,
    start: Start,
    environment: dict[str, str],
    small: list[str],
    data_file: Path,
    tmp_path: Path,
) -> None:
    dead = f"http://127.0.0.1:{free_port()}/api"
    command = ["run", "--project", str(tmp_path / "project"), "--data", str(data_file), *small]

    def refusal(**variables: str) -> str:
        done = tokensieve(*command, **variables)
        assert done.returncode == 2, done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("tokensieve:")]
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        return line

    line = refusal(PREFECT_API_URL=dead)
    assert f"PREFECT_API_URL is '{dead}', but no Prefect server responds there" in line
    assert "unset it" in line

    # A profile, as `prefect config set` writes it.
    profiles = Path(environment["PREFECT_HOME"]) / "profiles.toml"
    profiles.parent.mkdir(exist_ok=True)
    profiles.write_text(f'active = "work"\n[profiles.work]\nPREFECT_API_URL = "{dead}"\n', encoding="utf-8")
    line = refusal()
    assert (
        f"Prefect's profile 'work' ({profiles}) sets PREFECT_API_URL to '{dead}', "
        "but no Prefect server responds there" in line
    )
    assert "prefect profile use ephemeral" in line

    # Something else answers there.
    port = free_port()
    start(
        "other",
        str(BIN / "python"),
        "-m",
        "http.server",
        str(port),
        "--bind",
        "127.0.0.1",
        url=f"http://127.0.0.1:{port}/",
    )
    assert f"PREFECT_API_URL is 'http://127.0.0.1:{port}/api', which is not Prefect's API" in refusal(
        PREFECT_API_URL=f"http://127.0.0.1:{port}/api"
    )


FOUR_SERVERS = """
import sys
from pathlib import Path
from flows.temporary_server import TemporaryServer

servers = [TemporaryServer(Path(sys.argv[1])) for _ in range(4)]
for server in servers:
    server.wait()
for server in servers:
    server.stop()
"""


@pytest.mark.timeout(600)
def test_first_servers_at_once_do_not_break_each_others_tables(
    environment: dict[str, str], tmp_path: Path
) -> None:
    shutil.rmtree(environment["PREFECT_HOME"])
    command = [str(BIN / "python"), "-c", FOUR_SERVERS, str(tmp_path)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(600)
def test_a_killed_command_leaves_no_run_that_seems_to_run(
    start: Start, environment: dict[str, str], small: list[str], data_file: Path, tmp_path: Path
) -> None:
    project, database = tmp_path / "project", Path(environment["PREFECT_HOME"]) / "prefect.db"

    def states(table: str) -> set[str]:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return {row[0] for row in connection.execute(f"SELECT DISTINCT state_type FROM {table}")}

    command = start(
        "command", str(BIN / "tokensieve"), "run", "--project", str(project), "--data", str(data_file), *small
    )
    wait_for(
        lambda: (
            (project / "artifacts" / "validation" / "report.json").exists()
            or command.popen.poll() is not None
        ),
        200,
        "a stage",
    )
    assert states("flow_run") == {"RUNNING"}, command.text()
    os.kill(command.popen.pid, signal.SIGKILL)

    wait_for(lambda: states("flow_run") == {"CRASHED"}, 120, "the end of the run")
    wait_for(lambda: "RUNNING" not in states("task_run"), 60, "the end of its tasks")
    wait_for(lambda: not any(str(project) in line for line in command_lines()), 120, "the end of the server")


def command_lines() -> list[str]:
    """Return the command lines of all processes."""
    return subprocess.run(
        ["ps", "-eo", "args="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
