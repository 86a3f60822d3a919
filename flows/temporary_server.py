"""A Prefect server for the duration of one command, if none is configured.

Prefect's own temporary server has three drawbacks. It is in the command's process group, so Ctrl-C
ends it and the client waits for it in vain. It survives a command that is killed. And it starts
only after all imports.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from tokensieve.cli.interrupts import ended_with
from tokensieve.disk import FULL_MESSAGES, DiskFullError
from tokensieve.errors import InputError

STARTUP_SECONDS = 120.0
STOP_SECONDS = 3.0
HINT = "(Background on this error at"  # the end of SQLAlchemy's messages
CLOSE_SECONDS = 30.0  # to mark the run of a killed command as crashed
# For the server's process. Block types are for Prefect's pages, which this server does not have.
SETTINGS = {
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",  # see _migrate
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}


class TemporaryServer:
    """A Prefect server in a process and session of its own.

    It ends with this process, however this process ends. If this process is killed, the server
    first marks its run as crashed; see `prefect_runs.close_killed`.

    Args:
        runs: The folder in which the project's runs keep their notes.
    """

    def __init__(self, runs: Path) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
            self._process = subprocess.Popen(
                # By path and with -P: the working directory may contain a package `flows` of the
                # user.
                [
                    sys.executable,
                    "-P",
                    __file__,
                    str(listener.fileno()),
                    str(os.getpid()),
                    self.url,
                    str(runs),
                ],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                env=os.environ | SETTINGS,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until it responds.

        Raises:
            InputError: If it ends before, or does not respond within `STARTUP_SECONDS`.
        """
        end = time.monotonic() + STARTUP_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise _not_started(_lines(self._read()), self._process.poll())
            time.sleep(0.05)

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._log.close()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        # Not urllib, which may use a proxy.
        connection = http.client.HTTPConnection(self.url.split("/")[2], timeout=1.0)
        try:
            connection.request("GET", "/api/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _read(self) -> str:
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")


def _lines(log: str) -> list[str]:
    return [line.strip() for line in log.split("\n") if line.strip() and not line.strip().startswith(HINT)]


def _not_started(lines: list[str], status: int | None) -> InputError:
    """Return the error for a server with these lines in its log.

    `status` is its exit status, None if it still runs.
    """
    from prefect.settings import PREFECT_HOME

    home: Path = PREFECT_HOME.value()
    start = "Prefect's temporary server did not start"
    if full := next(
        (line for line in reversed(lines) if any(words in line for words in FULL_MESSAGES)), None
    ):
        return DiskFullError(
            f"{start}: the disk of {home} is full ({full}); make room, "
            "or set PREFECT_HOME to a folder on another disk"
        )
    reason = lines[-1] if lines else f"exit status {status}"
    return InputError(
        f"{start} ({reason}); correct that, or start a server with prefect server start and set "
        "PREFECT_API_URL to its address"
    )


@contextlib.contextmanager
def prefect_server(runs: Path) -> Iterator[TemporaryServer | None]:
    """Start a temporary server unless Prefect is configured to use another one.

    Yield it while it is starting. `runs` is the folder in which the project's runs keep their
    notes. Pass what this yields to `connected` after the imports.
    """
    if os.environ.get("PREFECT_API_URL") or ("prefect" in sys.modules and _configured()):
        yield None
        return
    server = TemporaryServer(runs)
    with ended_with(server.kill):
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def connected(server: TemporaryServer | None) -> Iterator[None]:
    """Let Prefect use `server` within the block, unless a profile or settings file names another.

    Raises:
        InputError: If the server does not start, or if the configured one does not respond.
    """
    if server is None or _configured():
        from flows.configured_server import check_server

        check_server()
        yield
        return
    from prefect.context import refresh_global_settings_context

    server.wait()
    os.environ["PREFECT_API_URL"] = server.url
    refresh_global_settings_context()
    try:
        try:
            yield
        except Exception:
            # Otherwise Prefect tries to send it when Python ends, for more than a minute, to a
            # server that has ended.
            _drain()
            raise
        _drain()
    finally:
        del os.environ["PREFECT_API_URL"]
        refresh_global_settings_context()


def _configured() -> str | None:
    from prefect.settings import PREFECT_API_URL

    configured: str | None = PREFECT_API_URL.value()
    return configured


def _drain() -> None:
    """Send the remaining logs and events while the server is running."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all()
    EventsWorker.drain_all()


def _serve(listener: int, parent: int, url: str, runs: Path) -> None:
    """Serve Prefect's API on the socket `listener` until the process `parent` ends."""
    from flows.parent_process import call_when_ended

    call_when_ended(parent, lambda: _end(url, runs))
    gc.disable()  # garbage collection takes a quarter of the time of the imports
    import uvicorn
    from prefect.server.api.server import create_app

    _migrate()
    config: Any = uvicorn.Config(create_app(), log_level="error", lifespan="on")
    gc.freeze()
    gc.enable()
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=listener)])


def _migrate() -> None:
    """Migrate the database, one process at a time.

    On SQLite, two migrations at the same time fail on each other's tables.
    """
    from prefect.server.database import provide_database_interface
    from prefect.settings import PREFECT_HOME

    home: Path = PREFECT_HOME.value()
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / "tokensieve.lock"):
        asyncio.run(provide_database_interface().create_db())


def _end(url: str, runs: Path) -> None:
    # No process waits for this one any more.
    threading.Timer(CLOSE_SECONDS, os._exit, args=[1]).start()
    try:
        _close(url, runs)
    finally:
        os._exit(0)


def _close(url: str, runs: Path) -> None:
    if not any(runs.glob("*.json")):
        return
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.prefect_runs import close_killed

    with temporary_settings({PREFECT_API_URL: url}):
        close_killed(runs)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
