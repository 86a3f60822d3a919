"""When a service counts as hanging."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from flows.up.service import Service
from flows.up.services import Addresses, worker
from tokensieve.files import locked
from tokensieve.project import Layout


class Prefect(HTTPServer):
    """Returns one worker, whose last heartbeat is `seconds` old."""

    seconds = 0.0


class Workers(BaseHTTPRequestHandler):
    server: Prefect

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        beat = datetime.now(UTC) - timedelta(seconds=self.server.seconds)
        name = f"{socket.gethostname()}-{os.getpid()}"
        body = json.dumps([{"name": name, "last_heartbeat_time": beat.isoformat()}]).encode()
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


def of(layout: Layout, port: int) -> Service:
    return worker(layout, Addresses("127.0.0.1", 8000, port, "http://127.0.0.1:5000", 5000))


def test_a_worker_without_heartbeats_hangs_unless_a_run_is_in_progress(
    prefect: Prefect, tmp_path: Path
) -> None:
    layout = Layout(tmp_path)
    service = of(layout, prefect.server_port)
    assert service.responds
    prefect.seconds = 30
    assert service.responds()
    prefect.seconds = 120
    assert not service.responds()
    with locked(layout.busy):
        assert service.responds()
    assert not service.responds()


def test_a_worker_does_not_hang_because_prefect_does(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        service = of(Layout(tmp_path), closed.getsockname()[1])
    assert service.responds
    assert service.responds()
    assert not service.healthy(0.0)
