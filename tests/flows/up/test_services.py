"""When a service counts as hanging."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from flows.up.service import Service
from flows.up.services import Addresses, worker
from tokensieve.project import Layout


class Prefect(HTTPServer):
    """Returns one worker, whose last heartbeat is `seconds` old."""

    seconds = 0.0
    body: bytes | None = None  # instead of the worker


class Workers(BaseHTTPRequestHandler):
    server: Prefect

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        beat = datetime.now(UTC) - timedelta(seconds=self.server.seconds)
        name = f"{socket.gethostname()}-{os.getpid()}"
        body = json.dumps([{"name": name, "last_heartbeat_time": beat.isoformat()}]).encode()
        body = body if self.server.body is None else self.server.body
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def prefect() -> Iterator[Prefect]:
    with Prefect(("127.0.0.1", 0), Workers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def worker_service(layout: Layout, port: int) -> Service:
    return worker(layout, Addresses("127.0.0.1", 8000, port, "http://127.0.0.1:5000", 5000))


@contextmanager
def guarded(program: str) -> Iterator[int]:
    """Start a shell in the place of the guard, which runs `program` in that of the worker."""
    guard = subprocess.Popen(["sh", "-c", f"{program} & wait"], start_new_session=True)
    children = psutil.Process(guard.pid).children
    while not any(child.name() == "sleep" for child in children(recursive=True)):
        time.sleep(0.05)
    try:
        yield guard.pid
    finally:
        os.killpg(guard.pid, signal.SIGKILL)
        guard.wait()


def test_a_worker_without_heartbeats_hangs_unless_it_has_a_run(prefect: Prefect, tmp_path: Path) -> None:
    service = worker_service(Layout(tmp_path), prefect.server_port)
    assert service.responds
    with guarded("sleep 60") as guard:
        prefect.seconds = 30
        assert service.responds(guard)
        prefect.seconds = 120
        assert not service.responds(guard)
    with guarded("sh -c 'sleep 60 & wait'") as guard:
        assert service.responds(guard)
    assert not service.responds(guard)


def test_a_run_that_has_ended_does_not_count_though_nobody_has_waited_for_it(
    prefect: Prefect, tmp_path: Path
) -> None:
    service = worker_service(Layout(tmp_path), prefect.server_port)
    prefect.seconds = 120
    assert service.responds
    with guarded("sh -c 'sleep 60 & wait'") as guard:
        (held,) = psutil.Process(guard).children()
        (run,) = held.children()
        held.suspend()
        run.kill()
        while run.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.05)
        assert not service.responds(guard)


def test_a_strange_answer_is_none(prefect: Prefect, tmp_path: Path) -> None:
    service = worker_service(Layout(tmp_path), prefect.server_port)
    assert service.responds
    for prefect.body in (b"", b"<html>", b"{}"):
        assert service.responds(os.getpid())
        assert not service.healthy(0.0)
    prefect.body = b'[{"name": null}]'
    assert not service.healthy(0.0)


def test_a_worker_does_not_hang_because_prefect_does(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        service = worker_service(Layout(tmp_path), closed.getsockname()[1])
    assert service.responds
    assert service.responds(os.getpid())
    assert not service.healthy(0.0)
