"""Test the server as a process: under load, and with clients that misbehave."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tokensieve.inference.predictor import Predictor

SWAPS, CLIENTS = 20, 8


def exchange(made: Path, live: Path) -> None:
    """Replace a folder by another one, as an export does."""
    old = live.with_name("old")
    live.rename(old)
    made.rename(live)
    shutil.rmtree(old)


def test_hot_reload_under_load_fails_no_request(
    served: Any, tmp_path: Path, start: Callable[..., Any]
) -> None:
    text = "I lost my card"
    kinds = [served, replace(served, weight=-served.weight)]
    expected = {}
    live = tmp_path / "onnx"

    def make(i: int) -> Path:
        folder = kinds[i % 2].write(tmp_path / f"made-{i}")
        replace(served.manifest, data_hash=f"data-{i}").save(folder)
        expected[f"data-{i}"] = Predictor.load(folder, threads=1).predict([text])[0]
        return folder

    make(0).rename(live)
    server = start(live, "--poll-interval", "0.02")
    stopped = threading.Event()
    answers: list[tuple[int, Any]] = []

    def load() -> None:
        with closing(server.connection()) as connection:
            while not stopped.is_set():
                answers.append(server.predict({"text": text}, connection))

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(load) for _ in range(CLIENTS)]
        try:
            before = server.ready()["version"]
            for i in range(1, SWAPS + 1):
                exchange(make(i), live)
                deadline = time.monotonic() + 30
                while (now := server.ready()["version"]) == before and time.monotonic() < deadline:
                    time.sleep(0.01)
                assert now != before, server.ready()
                before = now
                sent = len(answers)
                while len(answers) < sent + CLIENTS * 2:  # so that each model has been used
                    time.sleep(0.005)
        finally:
            stopped.set()
        for client in clients:
            client.result()
    assert {status for status, _ in answers} == {200}
    assert {answer["data_hash"] for _, answer in answers} == set(expected)
    assert len({answer["version"] for _, answer in answers}) == SWAPS + 1
    for _, answer in answers:
        assert (answer["label"], answer["probability"]) == (
            expected[answer["data_hash"]].label,
            pytest.approx(expected[answer["data_hash"]].probability),
        )


def test_broken_export_keeps_the_old_model_and_shows_the_reason(
    served: Any, tmp_path: Path, start: Callable[..., Any]
) -> None:
    live = served.write(tmp_path / "onnx")
    server = start(live, "--poll-interval", "0.02")
    broken = served.write(tmp_path / "made")
    replace(served.manifest, data_hash="new").save(broken)
    (broken / "model.onnx").write_bytes(b"half")
    exchange(broken, live)
    deadline = time.monotonic() + 60
    # Between the two renames, the error is that there is no folder.
    while "SHA-256" not in ((told := server.ready())["trouble"] or "") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert told["status"] == "ready"
    assert "SHA-256" in told["trouble"]
    assert server.predict({"text": "card"})[1]["data_hash"] == served.manifest.data_hash
    assert "is still served" in server.log.read_text(encoding="utf-8")


def test_slow_or_disconnected_clients_do_not_affect_others(served: Any, start: Callable[..., Any]) -> None:
    server = start(served.folder, "--timeout", "5")
    head = (
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    )
    slow = socket.create_connection(("127.0.0.1", server.port))
    slow.sendall(head + b'{"text": "ca')
    for sent in (
        b"",
        b"POST",
        head,
        head + b'{"text": "sesame',
        b"\0\xff\r\n\r\n",
        head.replace(b"100", b"13") + b'{"text": "a"}',
    ):
        with socket.create_connection(("127.0.0.1", server.port)) as rude:
            rude.sendall(sent)
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    began = time.monotonic()
    assert server.predict({"text": "card"})[0] == 200
    assert time.monotonic() - began < 5
    slow.settimeout(0.1)
    answer, deadline = "", time.monotonic() + 30
    while not answer and time.monotonic() < deadline:  # single bytes do not extend the timeout
        slow.sendall(b"r")
        with contextlib.suppress(TimeoutError):
            answer = slow.recv(1000).decode()
    slow.close()
    assert answer.startswith("HTTP/1.1 408 ")
    assert server.predict({"text": "card"})[0] == 200
    log = server.log.read_text(encoding="utf-8")
    assert "Traceback" not in log
    assert "sesame" not in log


def test_connections_with_an_incomplete_head_are_closed(served: Any, start: Callable[..., Any]) -> None:
    server = start(served.folder, "--timeout", "1")
    with closing(server.connection()) as kept, contextlib.ExitStack() as opened:
        waiting = []
        for sent in (b"", b"\r\n", b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Slow: "):
            waiting.append(
                opened.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            )
            waiting[-1].sendall(sent)
        assert server.predict({"text": "card"}, kept)[0] == 200
        for one in waiting:
            assert one.recv(100) == b""
        assert server.predict({"text": "card"}, kept)[0] == 200
        time.sleep(1.2)  # a connection in use does not time out
        assert server.predict({"text": "card"}, kept)[0] == 200


@pytest.mark.parametrize("tasks", ["one", "shared"])
def test_openapi_document_matches_responses_to_generated_requests(
    served: Any, start: Callable[..., Any], tmp_path: Path, tasks: str
) -> None:
    folder = served.folder if tasks == "one" else served.write_shared(tmp_path / "shared")
    server = start(folder, "--max-texts", "3")
    checks = (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    )
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        f"http://127.0.0.1:{server.port}/openapi.json",
    ]
    options = [
        "--checks",
        ",".join(checks),
        "--max-examples",
        "60",
        "--seed",
        "1",
        "--generation-database",
        "none",
        "--no-color",
    ]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=200, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert server.process.poll() is None
    assert "Traceback" not in server.log.read_text(encoding="utf-8")


def test_api_key_over_tls(served: Any, tmp_path: Path, start: Callable[..., Any]) -> None:
    certificate, private = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        str(private),
        "-out",
        str(certificate),
        *subject,
    ]
    subprocess.run(make, check=True, capture_output=True)
    (tmp_path / "secret").write_text("sesame\n", encoding="utf-8")
    trusted = ssl.create_default_context(cafile=certificate)

    options = (
        "--api-key-file",
        str(tmp_path / "secret"),
        "--tls-certificate",
        str(certificate),
        "--tls-key",
        str(private),
    )
    server = start(served.folder, *options, trusted=trusted)
    assert server.predict({"text": "card"})[0] == 401
    request = urllib.request.Request(
        f"https://127.0.0.1:{server.port}/model", headers={"Authorization": "Bearer sesame"}
    )
    with urllib.request.urlopen(request, timeout=10, context=trusted) as answer:
        assert json.load(answer)["base"] == "tiny"
    assert server.stop() == 0
    assert "sesame" not in server.log.read_text(encoding="utf-8")
