"""Real servers for the system tests: Prefect, MLflow and PostgreSQL, each with its log, on free
ports of this machine.

Every test in this folder gets the marker `system`: `make test` leaves them out, `make test-system`
runs them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_port
from tests.system.postgres import Postgres

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BIN = Path(sys.executable).parent
STARTUP_SECONDS = 180.0  # a busy machine takes up to a minute
LOG_LINES = 30  # of each program, shown below a failed test
# Variables of this machine and of these tests, which a user's environment does not have.
OTHERS = (
    "MLFLOW_",
    "PREFECT_",
    "DVC_",
    "TOKENSIEVE_",
    "XDG_",
    "COVERAGE_",
    "PYTEST_",
    "OPENBLAS_",
)
# Settings that make a run of the tiny model take a moment.
SMALL = (
    "export.variants=[fused]",
    "finetune.max_epochs=2",
    "finetune.threads=1",
    "schedule.frozen_layers=0.5",
    "base.max_length=32",
)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """What runs in the background of a script ignores SIGINT, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, which few tests need."""
    from tests.system.chromium import opened_browser

    yield from opened_browser()


@dataclass
class Process:
    """A program in a process group of its own, whose output goes to the file `log`."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    def text(self) -> str:
        """Return what the program has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def errors(self) -> list[str]:
        """Return the lines of the log that report an error."""
        return [
            line for line in self.text().splitlines() if re.search(r"\b(ERROR|CRITICAL)\b|^Traceback ", line)
        ]

    def kill(self) -> None:
        """Kill the whole process group at once, as `kill -9` does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(30)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        """Send a signal to the program and return its exit status.

        Whatever is left of its group is killed.
        """
        if self.popen.poll() is None:
            self.popen.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(seconds)
        self.kill()
        return int(self.popen.returncode)


Start = Callable[..., Process]


@pytest.fixture
def environment(tmp_path: Path, prefect_database: Path) -> dict[str, str]:
    """Environment variables of a user whose home has Prefect's empty database and nothing else:
    nothing of this machine's MLflow, Prefect or DVC settings.
    """
    home = tmp_path / "home"
    (home / ".prefect").mkdir(parents=True)
    shutil.copy(prefect_database, home / ".prefect")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(OTHERS)}
    return kept | {
        "HOME": str(home),
        "PATH": f"{BIN}:{kept.get('PATH', '')}",
        "PREFECT_HOME": str(home / ".prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # By default MLflow's server starts eight more processes, for jobs that nobody here needs.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
    }


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Start a program; `url`, if given, is waited for. All are stopped after the test.

    Call as start(name, *command, url=..., env=..., cwd=...).
    """
    running: list[Process] = []

    def begin(
        name: str, *command: str, url: str = "", env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Process:
        log = tmp_path / f"{name}-{len(running)}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env or environment),
                cwd=cwd or tmp_path,
                start_new_session=True,
            )
        process = Process(name, popen, log, url)
        running.append(process)
        if url:
            wait_for(lambda: answers(url) or popen.poll() is not None, STARTUP_SECONDS, f"{name} at {url}")
            assert popen.poll() is None, f"{name} ended:\n{process.text()}"
        return process

    yield begin
    for process in reversed(running):
        process.stop(seconds=20)
        show_end(process.log)


@pytest.fixture
def start_prefect(start: Start, environment: dict[str, str]) -> Callable[..., Process]:
    """Start Prefect's server and set PREFECT_API_URL in `environment`.

    Give `database` for PostgreSQL, `port` to start one again.
    """

    def begin(database: str = "", port: int = 0) -> Process:
        port = port or free_port()
        if database:
            environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
        # By default its pages ask port 4200.
        environment["PREFECT_SERVER_UI_API_URL"] = f"http://127.0.0.1:{port}/api"
        process = start(
            "prefect",
            str(BIN / "prefect"),
            "server",
            "start",
            "--port",
            str(port),
            url=f"http://127.0.0.1:{port}/api/health",
        )
        environment["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
        return process

    return begin


@pytest.fixture
def start_mlflow(start: Start, environment: dict[str, str], tmp_path: Path) -> Callable[..., Process]:
    """Start MLflow's server on `database` (default: SQLite) and return it; its address is `url`
    less /health.

    Set environment["MLFLOW_TRACKING_URI"] yourself if the programs of the test are to use it.
    """

    def begin(database: str = "", port: int = 0) -> Process:
        port = port or free_port()
        folder = tmp_path / "mlflow"
        folder.mkdir(exist_ok=True)
        backend = database or f"sqlite:///{folder / 'mlflow.db'}"
        options = [
            "--backend-store-uri",
            backend,
            "--artifacts-destination",
            str(folder / "artifacts"),
            "--workers",
            "1",
        ]
        command = [str(BIN / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), *options]
        return start("mlflow", *command, url=f"http://127.0.0.1:{port}/health")

    return begin


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL cluster; call it with a name to make a database and get its address."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    cluster = Postgres(programs[-1], free_port())
    cluster.start()
    wait_for(cluster.responds, STARTUP_SECONDS, "PostgreSQL")
    yield cluster
    cluster.remove()


@pytest.fixture
def tokensieve(
    environment: dict[str, str], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command as a user does, in a process of its own; output and errors are captured
    apart.
    """

    def run(
        *arguments: str, cwd: Path | None = None, timeout: float = 600, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "tokensieve"), *map(str, arguments)]
        return subprocess.run(
            command,
            env=environment | variables,
            cwd=cwd or tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def small(tiny_model: Path) -> list[str]:
    """Arguments of `tokensieve run` that make a run on the tiny model take a moment."""
    return ["--set", *SMALL, f"base.model={tiny_model}"]


def answers(url: str) -> bool:
    """Return whether `url` answers a GET with status 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def wait_for(holds: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until `holds` returns a true value. Fail the test after `seconds` seconds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.5)


def show_end(log: Path) -> None:
    """Print the last lines of a log. pytest shows them below a test that has failed."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    sys.stdout.write("\n".join([f"--- the end of {log.name}", *lines, ""]))


def in_group(pgid: int) -> list[str]:
    """Return the command lines of the processes that are alive in a process group."""
    listed = subprocess.run(
        ["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    return [row[2] for row in rows if len(row) == 3 and int(row[0]) == pgid and not row[1].startswith("Z")]
