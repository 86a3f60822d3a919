"""Measure the peak memory of a server while clients send as much as its limits allow.

    python -m benchmarks.serving.memory --model DIR

Prints a JSON object: the resident memory in MiB when idle, then after each attack the memory, the
peak so far and the number of responses by status. Meanwhile the model is replaced every few
seconds. Linux only.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

from benchmarks.command import reports_input_errors

BODY = 1_048_576 - 1_000
START = "import sys; from tokensieve.cli.main import main; sys.exit(main(sys.argv[1:]))"
WORDS = b"a b c d e f g h i j k l m n o p q r s t u v w x y z "


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the result. Return status 0."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.memory", description="Measure a server's memory under attack."
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of an exported model")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("options", nargs="*", help="options for tokensieve serve, after --")
    options = parser.parse_args(arguments)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as scratch:
        served = Path(shutil.copytree(options.model, Path(scratch) / "served"))
        print(json.dumps(_measure(served, port, options), indent=1))
    return 0


def _measure(served: Path, port: int, options: argparse.Namespace) -> dict[str, object]:
    command = [
        sys.executable,
        "-c",
        START,
        "serve",
        "--model",
        str(served),
        "--port",
        str(port),
        *options.options,
    ]
    stopped = threading.Event()
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _wait(port)
        result: dict[str, object] = {"idle": memory(server.pid)[0]}
        threading.Thread(target=_replace_model, args=(served / "manifest.json", stopped), daemon=True).start()
        for name, attack in ATTACKS.items():
            began, statuses = time.monotonic(), Counter[str]()
            for _ in range(options.rounds):
                statuses += attack(port, options.clients)
            now, peak = memory(server.pid)
            result[name] = {
                "now": now,
                "peak": peak,
                "statuses": dict(statuses),
                "seconds": round(time.monotonic() - began, 1),
            }
        return result
    finally:
        stopped.set()
        server.terminate()
        server.wait(60)


def _replace_model(manifest: Path, ended: threading.Event) -> None:
    """Replace the model every few seconds, as an export does.

    While a model is loaded, two models and the file of the newer one are in memory.
    """
    count = 0
    while not ended.wait(4):
        count += 1
        tree = json.loads(manifest.read_text(encoding="utf-8")) | {"data_hash": str(count)}
        beside = manifest.with_suffix(".new")
        beside.write_text(json.dumps(tree), encoding="utf-8")
        beside.replace(manifest)


def memory(pid: int) -> tuple[float, float]:
    """Return the resident memory of a process in MiB: now, and its peak."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return round(kib["VmRSS"] / 1024, 1), round(kib["VmHWM"] / 1024, 1)


def many_words(port: int, clients: int) -> Counter[str]:
    """Send texts of single letters: the most tokens per byte."""
    return _post_from_all(port, clients, _texts(WORDS))


def wide_characters(port: int, clients: int) -> Counter[str]:
    """Send texts that need four bytes per character in memory, but one byte in the request."""
    return _post_from_all(port, clients, _texts(WORDS, start="\N{GRINNING FACE}".encode()))


def wrong_items(port: int, clients: int) -> Counter[str]:
    """Send a list of half a million numbers, and as many unknown fields as fit."""
    numbers = b'{"texts":[' + b",".join([b"1"] * (BODY // 2 - 10)) + b"]}"
    fields = b"{" + b",".join(b'"%x":1' % i for i in range(BODY // 10)) + b"}"
    return _post_from_all(port, clients // 4, numbers) + _post_from_all(port, clients // 4, fields)


def large_answers(port: int, clients: int) -> Counter[str]:
    """Request as many labels as a response may contain, and do not read the responses."""
    body = json.dumps({"texts": ["card"] * 128, "top": 10_000}).encode()
    if b" 422 " in _post(port, body):
        body = json.dumps({"texts": ["card"] * 100, "top": 150}).encode()
    with ExitStack() as stack:
        for _ in range(clients):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with suppress(OSError, TimeoutError):
                one.settimeout(2)
                for _ in range(8):
                    one.sendall(_head(len(body)) + body)
        time.sleep(3)
    return Counter({"unread": clients})


def long_heads(port: int, clients: int) -> Counter[str]:
    """Send incomplete heads of 60 KB on all connections."""
    with ExitStack() as stack:
        for _ in range(clients * 8):
            with suppress(OSError):
                one = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                one.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 60_000)
        time.sleep(1)
    return Counter({"half-sent": clients * 8})


ATTACKS: dict[str, Callable[[int, int], Counter[str]]] = {
    one.__name__: one for one in (many_words, wide_characters, wrong_items, large_answers, long_heads)
}


def _texts(words: bytes, start: bytes = b"") -> bytes:
    text = b'"' + start + (words * (20_000 // len(words)))[: 20_000 - len(start)] + b'"'
    return b'{"texts":[' + b",".join([text] * (BODY // (len(text) + 1) - 1)) + b"]}"


def _post_from_all(port: int, clients: int, body: bytes) -> Counter[str]:
    with ThreadPoolExecutor(max(1, clients)) as pool:
        answers = pool.map(lambda _: _post(port, body), range(clients))
        return Counter(answer.split(b" ")[1].decode() if answer else "closed" for answer in answers)


def _post(port: int, body: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=120) as one, suppress(OSError):
        one.sendall(_head(len(body)) + body)
        answer = b""
        while chunk := one.recv(65536):
            answer = answer or chunk
        return answer
    return b""


def _head(length: int) -> bytes:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % length


def _wait(port: int) -> None:
    for _ in range(1200):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError("the server did not start")


if __name__ == "__main__":
    sys.exit(main())
