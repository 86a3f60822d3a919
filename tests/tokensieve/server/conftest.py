"""Start `tokensieve serve` as a process."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import tokensieve
from tests.ports import free_port
from tokensieve.server.app import create_app
from tokensieve.server.batcher import Batcher
from tokensieve.server.config import Limits
from tokensieve.server.model_watcher import FolderSource, ModelWatcher
from tokensieve.server.prometheus import Metrics

ROOT = Path(tokensieve.__file__).parents[1]


class Server:
    """A running `tokensieve serve`."""

    def __init__(
        self,
        folder: Path | str,
        log: Path,
        *options: str,
        trusted: ssl.SSLContext | None = None,
        env: Mapping[str, str] | None = None,
        limit: str = "",
    ) -> None:
        self.trusted = trusted
        self.port = free_port()
        self.log = log
        command = ["serve", "--model", str(folder), "--port", str(self.port), *options]
        code = f"import sys; from tokensieve.cli.main import main; sys.exit(main({command!r}))"
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                ["sh", "-c", f'{limit}\nexec "$0" "$@"', sys.executable, "-c", code],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | (env or {}),
            )

    def connection(self) -> http.client.HTTPConnection:
        if self.trusted:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=self.trusted)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def ready(self) -> dict[str, Any]:
        """Wait until the server takes a connection and is ready; return what it tells of itself."""
        deadline = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                status, answer = self.get("/ready")
                if status == 200:
                    return dict(answer)
            time.sleep(0.05)
        raise AssertionError(
            f"not ready; the process returned {self.process.poll()}: {self.log.read_text(encoding='utf-8')}"
        )

    def get(self, path: str) -> tuple[int, Any]:
        with closing(self.connection()) as connection:
            return self.ask(connection, "GET", path)

    def predict(self, tree: Any, connection: http.client.HTTPConnection | None = None) -> tuple[int, Any]:
        if connection:
            return self.ask(connection, "POST", "/predict", json.dumps(tree))
        with closing(self.connection()) as once:
            return self.ask(once, "POST", "/predict", json.dumps(tree))

    def ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None
    ) -> tuple[int, Any]:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def log_text(self) -> str:
        """Return the log."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def memory(self) -> float:
        """Reset the peak memory of the process to its current memory, and return it in MiB."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", encoding="ascii")
        return self.peak()

    def peak(self) -> float:
        """Return the peak memory in MiB since the last call of `memory`."""
        (line,) = [
            line
            for line in Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
            if "VmHWM" in line
        ]
        return int(line.split()[1]) / 1024

    def raw(self) -> socket.socket:
        """Return a new connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def stop(self, seconds: float = 30) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=seconds)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    running: list[Server] = []

    def begin(folder: Path, *options: str, ready: bool = True, **rest: Any) -> Server:
        running.append(Server(folder, tmp_path / f"log-{len(running)}", *options, **rest))
        if ready:
            running[-1].ready()
        return running[-1]

    yield begin
    for server in running:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait(30)


@pytest.fixture
def client_of() -> Iterator[Callable[..., TestClient]]:
    """Return a function that serves a model folder within this process, and returns a client.

    Errors become status 500, as for a user.
    """
    with ExitStack() as stack:

        def begin(folder: Path, limits: Limits = Limits(), **rest: Any) -> TestClient:  # noqa: B008
            metrics = Metrics()
            batcher = Batcher(2, 64, limits.max_queue, metrics.batches.observe)
            stack.callback(batcher.close)
            watcher = ModelWatcher(FolderSource(folder), 1)
            app = create_app(watcher, batcher, metrics, limits, **rest)
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield begin


@pytest.fixture(scope="session")
def server_class() -> type[Server]:
    """Return the class of servers, for fixtures that share one server among tests."""
    return Server
