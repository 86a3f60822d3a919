"""Attack a running process with raw sockets and signals, and watch its memory."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

POST = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
MANY = 64 * 1024 * 1024  # bytes that a client sends, unless it is refused
ROOM = 48  # MiB by which an attack may increase the memory of the process


def slow(folder: Path, squares: int = 6, side: int = 1024) -> Path:
    """Slow down the model of a folder to some tenths of a second per run, by large matrix
    products.
    """
    model = onnx.load(folder / "model.onnx")
    shape = helper.make_tensor("side", TensorProto.INT64, [2], [side, side])
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("ReduceMax", ["logits"], ["scalar"], keepdims=0),
        helper.make_node("Expand", ["scalar", "shape"], ["square0"]),
        *(helper.make_node("MatMul", [f"square{i}", "square0"], [f"square{i + 1}"]) for i in range(squares)),
        helper.make_node("Greater", [f"square{squares}", f"square{squares}"], ["never"]),
        helper.make_node("Cast", ["never"], ["zeros"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["zeros"], ["zero"], keepdims=0),
        helper.make_node("Add", ["logits", "zero"], ["slow"]),
    ]
    model.graph.node.extend(nodes)
    model.graph.output[0].name = "slow"
    for node in model.graph.node:
        node.input[:] = ["fast" if name == "logits" else name for name in node.input]
        node.output[:] = [
            "fast" if name == "logits" else "logits" if name == "slow" else name for name in node.output
        ]
    model.graph.output[0].name = "logits"
    onnx.save(model, folder / "model.onnx")
    return folder


@pytest.fixture
def slowly(served: Any, tmp_path: Path) -> Path:
    """Return the folder of a model that takes some tenths of a second per run."""
    folder = slow(served.write(tmp_path / "slow"))
    served.manifest.save(folder)
    return folder


@pytest.fixture(scope="module")
def secured(served: Any, tmp_path_factory: pytest.TempPathFactory, server_class: Any) -> Iterator[Any]:
    """Yield a server with an API key that the attackers do not have."""
    folder = tmp_path_factory.mktemp("secured")
    (folder / "key").write_text("sesame\n", encoding="utf-8")
    server = server_class(served.folder, folder / "log", "--api-key-file", str(folder / "key"))
    server.ready()
    yield server
    server.process.kill()
    server.process.wait(30)


def pour(one: socket.socket, first: bytes, piece: bytes, most: int = MANY) -> bytes:
    """Send `first`, then `piece` repeatedly until the server closes the connection.

    Return its response.
    """
    sent = 0
    with contextlib.suppress(OSError):
        one.sendall(first)
        while sent < most:
            one.sendall(piece)
            sent += len(piece)
    with contextlib.suppress(OSError):
        return one.recv(10_000)
    return b""


def metric(server: Any, name: str) -> float:
    """Return the value of a metric without labels."""
    with closing(server.connection()) as connection:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1]) if answer else 0


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (POST + b"X-A: ", b"a" * 65536),
        (POST, b"".join(b"X-%05d: a\r\n" % i for i in range(5000))),
        (POST + b"a" * 1000, b"a" * 65536),
        (b"GET /" + b"a" * 1000, b"a" * 65536),
        (CHUNKED + b"1;", b"a" * 65536),
        (CHUNKED, b"1;" + b"a" * 1000 + b"\r\n \r\n"),
        (CHUNKED + b"1\r\n \r\n0\r\n", b"".join(b"X-%05d: a\r\n" % i for i in range(5000))),
        (CHUNKED + b"1\r\n \r\n0\r\nX-A: ", b"a" * 65536),
    ],
    ids=["value", "headers", "name", "path", "extension", "extensions", "trailers", "trailer"],
)
def test_endless_head_is_refused_without_using_memory(secured: Any, first: bytes, piece: bytes) -> None:
    before = secured.memory()
    with secured.raw() as one:
        answer = pour(one, first, piece)
    # Chunks and trailers of a body arrive after the API key was checked.
    assert status(answer) in ((401, 431) if first.startswith(CHUNKED) else (431,)), answer
    assert secured.peak() - before < ROOM
    assert secured.ready()["status"] == "ready"


def test_trailers_are_limited_and_are_not_headers(secured: Any) -> None:
    key = b"Authorization: Bearer sesame\r\n"
    head = CHUNKED.replace(b"Host: x\r\n", b"Host: x\r\n" + key)
    body = b'f\r\n{"text":"card"}\r\n0\r\n'
    before = secured.memory()
    with secured.raw() as one:
        assert status(pour(one, head + body, b"X-A: %s\r\n" % (b"a" * 1000))) in (0, 431)
    with secured.raw() as one:
        one.sendall(CHUNKED + body + key + b"\r\n")  # the API key as a trailer
        assert status(one.recv(1000)) == 401
    with secured.raw() as one:
        one.sendall(head + body + b"X-Checksum: abc\r\n\r\n")
        assert status(one.recv(1000)) == 200
    assert secured.peak() - before < ROOM


def test_small_chunks_count_as_body(secured: Any) -> None:
    text = b'{"text":"' + b"a " * 9_000 + b'"}'
    chunks = b"".join(b"1\r\n%c\r\n" % character for character in text)
    with secured.raw() as one:
        one.sendall(CHUNKED.replace(b"Host", b"Authorization: Bearer sesame\r\nHost") + chunks + b"0\r\n\r\n")
        assert status(one.recv(1000)) == 200


def test_heads_of_all_connections_together_are_limited(secured: Any) -> None:
    before = secured.memory()
    with contextlib.ExitStack() as stack:
        for _ in range(450):
            one = stack.enter_context(secured.raw())
            with contextlib.suppress(OSError):
                one.sendall(POST + b"X-A: " + b"a" * 60_000)
        # Meanwhile, a request with an ordinary head gets a response.
        assert secured.predict({"text": "card"})[0] == 401
        assert secured.peak() - before < 3 * ROOM


def test_pipelined_requests_are_limited(secured: Any) -> None:
    before = secured.memory()
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            one = stack.enter_context(secured.raw())
            one.settimeout(0.1)
            with contextlib.suppress(OSError):
                one.sendall(b"GET / HTTP/1.1\r\n\r\n" * 50_000)
        assert secured.peak() - before < 2 * ROOM
    with secured.raw() as one:  # all get a response if the client reads them
        one.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        answers = b""
        while answers.count(b'{"status":"ok"}') < 1000:
            chunk = one.recv(10_000)
            assert chunk, answers
            answers += chunk


def test_connections_are_limited(served: Any, start: Callable[..., Any]) -> None:
    server = start(served.folder, "--max-connections", "20")
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(server.raw()) for _ in range(40)]
        refused = 0
        for one in opened:
            one.settimeout(0.2)
            with contextlib.suppress(TimeoutError, ConnectionError):
                refused += status(one.recv(1000)) == 503
        assert refused >= 19  # `ready` may still have one open
    assert server.ready()["status"] == "ready"


@pytest.mark.parametrize("body", ["numbers", "fields"])
def test_a_body_of_wrong_values_takes_little_memory(
    served: Any, start: Callable[..., Any], body: str
) -> None:
    size = 1_040_000
    wrong = {
        "numbers": '{"texts":[' + ",".join(["1"] * (size // 2)) + "]}",
        "fields": "{" + ",".join(f'"{i:x}":1' for i in range(size // 10)) + "}",
    }[body]
    server = start(served.folder)
    before = server.memory()
    with closing(server.connection()) as connection:
        assert server.ask(connection, "POST", "/predict", wrong)[0] == 422
    assert server.peak() - before < ROOM


def test_memory_is_bounded_for_clients_within_all_limits(served: Any, start: Callable[..., Any]) -> None:
    """Each of 16 clients sends a megabyte of text, 500,000 tokens.

    The model reads only a few of them.
    """
    server = start(served.folder, "--timeout", "60")
    text = "a b c d e f g h i j " * 1000
    body = json.dumps({"texts": ["\N{GRINNING FACE} " + text[:-10]] + [text] * 50})
    server.predict({"texts": [text] * 8})
    before = server.memory()

    def ask(_: int) -> int:
        with closing(server.connection()) as connection:
            connection.timeout = 120
            return server.ask(connection, "POST", "/predict", body)[0]

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(ask, range(16)))
    assert set(statuses) <= {200, 503}
    assert 200 in statuses
    assert server.peak() - before < 150


def test_bodies_of_all_requests_together_are_limited(slowly: Path, start: Callable[..., Any]) -> None:
    server = start(slowly, "--max-held", "100000")
    body = json.dumps({"text": "a" * 19_000})

    def ask(_: int) -> tuple[int, Any]:
        with closing(server.connection()) as connection:
            return server.ask(connection, "POST", "/predict", body)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(16)))
    refused = [answer for code, answer in answers if code == 503]
    assert {code for code, _ in answers} == {200, 503}
    assert all(
        answer["detail"].startswith("the server holds 100000 bytes of requests already") for answer in refused
    )
    assert server.predict({"text": "card"})[0] == 200


@pytest.mark.parametrize("close", [False, True])
def test_client_refused_while_sending_gets_the_response(
    served: Any, start: Callable[..., Any], close: bool
) -> None:
    server = start(served.folder, "--max-body", "100000")
    head = POST + b"Content-Length: 10000000\r\n" + (b"Connection: close\r\n" if close else b"") + b"\r\n"
    for _ in range(5):
        with server.raw() as one:
            one.sendall(head)
            for _ in range(10):
                one.sendall(b" " * 1_000_000)
            assert status(one.recv(1000)) == 413


@pytest.mark.parametrize("chunked", [False, True])
def test_offer_of_http_2_is_ignored(served: Any, start: Callable[..., Any], chunked: bool) -> None:
    """Java's own client offers HTTP/2 with each request to an http address."""
    server = start(served.folder)
    body = b'{"text":"I lost my card"}'
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    offer = (
        b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
        b"Upgrade: h2c\r\n"
    )
    expected = server.predict({"text": "I lost my card"})
    with server.raw() as one, one.makefile("rb") as answers:
        for _ in range(3):  # the connection stays open
            one.sendall(POST + offer + length + b"\r\n\r\n" + sent)
            assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
            headers = dict(line.split(b": ", 1) for line in iter(answers.readline, b"\r\n"))
            assert json.loads(answers.read(int(headers[b"content-length"]))) == expected[1]
        one.sendall((POST + offer + length + b"\r\n\r\n")[:150])
        time.sleep(0.1)
        one.sendall((POST + offer + length + b"\r\n\r\n")[150:])
        for byte in sent:  # a network may divide it into any pieces
            one.sendall(bytes([byte]))
        assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
    assert "upgrade" not in server.log_text().lower()


def test_offer_of_websocket_is_an_ordinary_request_and_not_logged(secured: Any) -> None:
    offer = (
        b"Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAA\r\n"
    )
    for path, key, expected in (
        (b"/predict", b"", 401),
        (b"/predict", b"Authorization: Bearer sesame\r\n", 405),
        (b"/health", b"", 200),
    ):
        with secured.raw() as one:
            one.sendall(b"GET %b?text=private HTTP/1.1\r\n%b%b\r\n" % (path, offer, key))
            assert status(one.recv(1000)) == expected
    assert "private" not in secured.log_text()


def test_malformed_requests_do_not_fill_the_log(secured: Any) -> None:
    before = secured.log.stat().st_size
    for _ in range(300):
        with secured.raw() as one:
            one.sendall(b"\0\xff\r\n\r\n")
            assert status(one.recv(1000)) in (400, 0)
    assert secured.log.stat().st_size - before < 2000


def test_two_authorization_headers_are_refused_and_scheme_ignores_case(secured: Any) -> None:
    for headers, expected in (
        (b"authorization: bearer sesame\r\n", 200),
        (b"Authorization: BEARER  sesame\r\n", 200),
        (b"Authorization: Bearer sesame\r\nAuthorization: Bearer other\r\n", 401),
        (b"Authorization: Bearer other\r\nAuthorization: Bearer sesame\r\n", 401),
        (b"Authorization: Basic sesame\r\n", 401),
        (b"Authorization: Bearersesame\r\n", 401),
    ):
        with secured.raw() as one:
            one.sendall(b"GET /model HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
            assert status(one.recv(1000)) == expected, headers


def test_shutdown_does_not_wait_for_slow_clients(slowly: Path, start: Callable[..., Any]) -> None:
    """A computation in progress is finished.

    Incomplete bodies and unread responses are given up.
    """
    # On a busy machine the computation takes seconds; waiting for a client would take a minute.
    server = start(slowly, "--workers", "1", "--grace", "60", "--timeout", "60")
    with contextlib.ExitStack() as stack:
        unread = stack.enter_context(server.raw())
        unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        unread.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while True:
                unread.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
        half = stack.enter_context(server.raw())
        half.sendall(POST + b'Content-Length: 100\r\n\r\n{"text": "ca')
        head = stack.enter_context(server.raw())
        head.sendall(POST)
        idle = stack.enter_context(closing(server.connection()))
        assert server.ask(idle, "GET", "/health")[0] == 200
        with ThreadPoolExecutor(1) as pool:
            sent = {"texts": ["card", "i card", "a i card"]}
            computed = pool.submit(server.predict, sent)
            held, size = "tokensieve_held_bytes", len(json.dumps(sent))
            wait_until(lambda: computed.done() or metric(server, held) >= size)
            began = time.monotonic()
            assert server.stop(60) == 0
            assert time.monotonic() - began < 40
            assert computed.result()[0] == 200
        assert status(half.recv(1000)) == 503
    assert "Traceback" not in server.log_text(), server.log_text()


def test_requests_longer_than_grace_are_cancelled(slowly: Path, start: Callable[..., Any]) -> None:
    # One text per run, so that it takes longer than --grace on a fast machine, too.
    server = start(slowly, "--workers", "1", "--grace", "1", "--max-batch-tokens", "1")
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(server.predict, {"texts": ["card " * i for i in range(1, 128)]})
        time.sleep(0.5)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 10
        with contextlib.suppress(OSError):
            assert late.result()[0] == 503
    assert "Traceback" not in server.log_text(), server.log_text()


def test_ctrl_c_exits_with_status_130(served: Any, start: Callable[..., Any]) -> None:
    server = start(served.folder)
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(60) == 130
    assert "Traceback" not in server.log_text(), server.log_text()


def test_work_for_disconnected_clients_is_dropped(slowly: Path, start: Callable[..., Any]) -> None:
    server = start(slowly, "--workers", "1", "--max-queue", "64", "--max-batch-tokens", "1")
    body = json.dumps({"texts": ["card " * i for i in range(1, 33)]}).encode()
    for _ in range(2):  # twice as many as fit into the queue
        gone = [server.raw() for _ in range(2)]
        for one in gone:
            one.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        wait_until(lambda: metric(server, "tokensieve_queue_texts") > 32)
        for one in gone:
            one.close()
        wait_until(lambda: metric(server, "tokensieve_held_bytes") == 0)
        assert metric(server, "tokensieve_queue_texts") == 0
    assert server.predict({"text": "card"})[0] == 200
    # Of 128 texts, those of the runs that had begun.
    assert metric(server, "tokensieve_batch_texts_sum") < 32
    assert "Traceback" not in server.log_text(), server.log_text()


def test_connections_with_unread_responses_are_closed(served: Any, start: Callable[..., Any]) -> None:
    server = start(served.folder, "--timeout", "1")
    before = server.memory()
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            one = stack.enter_context(server.raw())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.settimeout(0.3)
            with contextlib.suppress(OSError):
                while True:
                    one.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
        assert server.peak() - before < ROOM
        wait_until(lambda: sockets(server.process.pid) < 10)
        assert server.predict({"text": "card"})[0] == 200


def sockets(pid: int) -> int:
    """Return how many sockets a process has open."""
    found = 0
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found += "socket" in str(path.readlink())
    return found


def test_sighup_reopens_the_prediction_log(served: Any, start: Callable[..., Any], tmp_path: Path) -> None:
    log, rotated = tmp_path / "texts.jsonl", tmp_path / "texts.jsonl.1"
    server = start(served.folder, "--log-texts", str(log))
    stopped = threading.Event()

    def load() -> int:
        count = 0
        with closing(server.connection()) as connection:
            while not stopped.is_set():
                assert server.predict({"text": "card"}, connection)[0] == 200
                count += 1
        return count

    with ThreadPoolExecutor(2) as pool:
        clients = [pool.submit(load) for _ in range(2)]
        for _ in range(3):
            log.rename(rotated.with_suffix(f".{time.monotonic_ns()}"))
            server.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + 10
            while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert log.stat().st_size
        stopped.set()
        answered = sum(client.result() for client in clients)
    lines = [
        line
        for path in tmp_path.glob("texts.jsonl*")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert len([json.loads(line) for line in lines]) == answered
    # On a thread of its own.
    wait_until(lambda: server.log_text().count("the prediction log was opened again") == 3)
    assert server.stop() == 0


def test_sighup_without_prediction_log_changes_nothing(served: Any, start: Callable[..., Any]) -> None:
    server = start(served.folder, ready=False)
    for _ in range(20):  # also while it starts
        time.sleep(0.1)
        server.process.send_signal(signal.SIGHUP) if server.log_text() else None
    server.ready()
    server.process.send_signal(signal.SIGHUP)
    assert server.predict({"text": "card"})[0] == 200


def test_start_logs_whether_an_api_key_is_needed(served: Any, start: Callable[..., Any]) -> None:
    server = start(served.folder, ready=False, env={"TOKENSIEVE_API_KEY": ""})
    assert server.process.wait(60) == 2
    assert "TOKENSIEVE_API_KEY is empty" in server.log_text()
    server = start(served.folder, env={"TOKENSIEVE_API_KEY": "sesame"})
    assert f"requests need the API key at http://127.0.0.1:{server.port}" in server.log_text()
    assert "4 labels, uncertain below 0.8, reads 12 tokens" in server.log_text()
    assert f"curl -s http://127.0.0.1:{server.port}/predict" in server.log_text()
    assert "sesame" not in server.log_text()


def test_port_in_use_is_an_input_error(served: Any, start: Callable[..., Any]) -> None:
    server = start(served.folder)
    second = start(served.folder, "--port", str(server.port), ready=False)
    assert second.process.wait(60) == 2
    assert (
        f"cannot listen on 127.0.0.1 port {server.port} (Address already in use); use another --port"
        in second.log_text()
    )


def test_low_limit_on_open_files_lowers_the_connection_limit(served: Any, start: Callable[..., Any]) -> None:
    """With too few open files for --max-connections, fewer connections are accepted.

    Hot reload still works.
    """
    server = start(served.folder, "--poll-interval", "0.05", limit="ulimit -n 160")
    assert "at most 32 connections: the limit on open files is 160" in server.log_text()
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            with contextlib.suppress(OSError):
                stack.enter_context(server.raw())
        time.sleep(1)
    assert server.ready()["trouble"] is None
    assert "no manifest" not in server.log_text()


def test_root_path_and_cors(served: Any, start: Callable[..., Any]) -> None:
    server = start(served.folder, "--root-path", "/labels", "--cors-origin", "https://example.org")
    with closing(server.connection()) as connection:
        for path in ("/health", "/labels/health"):  # whether or not the proxy removes its prefix
            assert server.ask(connection, "GET", path)[0] == 200
        assert server.ask(connection, "POST", "/labels/predict", '{"text": "card"}')[0] == 200
        asked = {
            "Origin": "https://example.org",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        }
        connection.request("OPTIONS", "/predict", headers=asked)
        answer = connection.getresponse()
        assert (answer.status, answer.read() is None) == (200, False)
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        connection.request("GET", "/labels/docs")
        page = connection.getresponse().read().decode()
    assert "/labels/openapi.json" in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://ADDRESS", "")


def certified(folder: Path, days: int = 2, passphrase: bool = False) -> tuple[str, str]:
    """Create a certificate that is valid for `days` days, or expired if negative, and its key."""
    certificate, key, request = (
        str(folder / f"{name}{days}.pem") for name in ("certificate", "key", "request")
    )
    how = ["-passout", "pass:sesame"] if passphrase else ["-nodes"]
    ask = [
        "openssl",
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        *how,
        "-keyout",
        key,
        "-out",
        request,
        "-subj",
        "/CN=localhost",
    ]
    sign = [
        "openssl",
        "x509",
        "-req",
        "-in",
        request,
        "-signkey",
        key,
        "-passin",
        "pass:sesame",
        "-days",
        str(days),
        "-out",
        certificate,
    ]
    for command in (ask, sign):
        subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def test_invalid_tls_files_are_input_errors(served: Any, start: Callable[..., Any], tmp_path: Path) -> None:
    certificate, key = certified(tmp_path)
    _, other = certified(tmp_path, 3)
    _, locked = certified(tmp_path, 4, passphrase=True)
    (tmp_path / "junk.pem").write_text("junk", encoding="utf-8")
    tried = [
        start(served.folder, "--tls-certificate", one, "--tls-key", two, ready=False)
        for one, two in (
            (certificate, other),
            (certificate, locked),
            (certificate, str(tmp_path / "junk.pem")),
            (str(tmp_path), key),
        )
    ]
    words = (
        "is not the private key of",
        "is encrypted; decrypt it first",
        "are not a PEM certificate",
        "cannot be read (Is a directory)",
    )
    for server, expected in zip(tried, words, strict=True):
        assert server.process.wait(60) == 2
        assert expected in server.log_text()


def test_start_warns_about_an_expired_certificate(
    served: Any, start: Callable[..., Any], tmp_path: Path
) -> None:
    certificate, key = certified(tmp_path, -1)
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    server = start(served.folder, "--tls-certificate", certificate, "--tls-key", key, trusted=trusting)
    assert (
        f"{certificate} has expired; clients that check it will refuse the connection: renew it"
        in server.log_text()
    )
    certificate, key = certified(tmp_path, 2)
    server = start(served.folder, "--tls-certificate", certificate, "--tls-key", key, trusted=trusting)
    assert "renew it" not in server.log_text()
