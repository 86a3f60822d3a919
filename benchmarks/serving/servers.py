"""Start a server, send requests to it with wrk, measure its memory, and stop it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokensieve.errors import InputError
from tokensieve.files import read_json
from tokensieve.project import Layout

ROOT = Path(__file__).resolve().parents[2]
MAX_START = 120.0  # seconds until the first response of a server


@dataclass(frozen=True)
class ServerKind:
    """How to start a server on a port and how to send it a text.

    Attributes:
        command: The command; {port} is replaced by the port.
        path: The path for predictions.
        needs: A program of its environment, which must exist.
        template: The body of a request; %s is replaced by the text as JSON.
        threads: Threads per process.
    """

    name: str
    command: tuple[str, ...]
    path: str
    needs: Path
    template: str = '{"text": %s}'
    threads: int = 1

    def body(self, text: str) -> str:
        """Return the body of a request."""
        return self.template % json.dumps(text)


def server_kinds(rivals: Path, project: Path, workers: int) -> list[ServerKind]:
    """Return our server and its rivals, each with `workers` workers of one thread.

    Each rival has an environment of its own in the folder `rivals`. infinity-emb has one worker
    with as many threads, and returns the encoder's embedding of a text: it cannot apply the head.
    """
    here, mlflow = (Path(sys.executable).with_name(name) for name in ("tokensieve", "mlflow"))
    bento, lit = rivals / "bentoml/bin/bentoml", rivals / "litserve/bin/python"
    infinity, layout = rivals / "infinity/bin/infinity_emb", Layout(project)
    registration = project / "artifacts/registration/registration.json"
    uri = read_json(registration)["uri"] if registration.exists() else ""
    count, port = ("--workers", str(workers)), ("--port", "{port}")

    def command(program: Path, words: str, *rest: str) -> tuple[str, ...]:
        return (str(program), *words.split(), *rest)

    return [
        ServerKind(
            "tokensieve", command(here, "serve --model", str(layout.onnx), *count, *port), "/predict", here
        ),
        ServerKind(
            "BentoML",
            command(bento, "serve benchmarks.serving.rivals.bento:Classifier", *port),
            "/predict",
            bento,
        ),
        ServerKind("LitServe", command(lit, "-m benchmarks.serving.rivals.lit {port}"), "/predict", lit),
        ServerKind(
            "mlflow models serve",
            command(mlflow, "models serve --env-manager local -m", uri, *count, *port),
            "/invocations",
            mlflow,
            '{"inputs": {"text": [%s]}}',
        ),
        ServerKind(
            "infinity-emb, no head",
            command(infinity, "v2 --device cpu --host 127.0.0.1 --model-id", str(layout.model), *port),
            "/embeddings",
            infinity,
            '{"model": "encoder", "input": [%s]}',
            threads=workers,
        ),
    ]


class Server:
    """A running server. `seconds` is the time from its start to its first response."""

    def __init__(self, kind: ServerKind, port: int, pid: int, seconds: float) -> None:
        self.kind, self.port, self.pid, self.seconds = kind, port, pid, seconds

    def post(self, text: str) -> None:
        """Send one text and read the response."""
        _post(f"http://127.0.0.1:{self.port}{self.kind.path}", self.kind.body(text))

    def memory(self) -> float:
        """Return the memory of all its processes in MiB. Shared pages count once (PSS)."""
        return round(sum(_pss(pid) for pid in _family(self.pid)) / 1024, 1)

    def load(self, texts: Sequence[str], clients: int, seconds: int, scratch: Path) -> dict[str, float]:
        """Return the texts per second and the p50, p95 and p99 in milliseconds, measured by wrk.

        Raises:
            RuntimeError: If a response does not have status 200, or wrk fails.
        """
        bodies, script = scratch / "bodies", scratch / "load.lua"
        bodies.write_text("".join(self.kind.body(text) + "\n" for text in texts), encoding="utf-8")
        script.write_text(
            LUA.replace("BODIES", str(bodies)).replace("PATH", self.kind.path), encoding="utf-8"
        )
        command = [
            "wrk",
            "-t1",
            f"-c{clients}",
            f"-d{seconds}s",
            "--timeout",
            "20s",
            "-s",
            str(script),
            f"http://127.0.0.1:{self.port}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = re.search(r"RESULT (\S+) (\S+) (\S+) (\S+) (\S+)", done.stdout)
        if not found or float(found[5]):
            raise RuntimeError(
                f"{self.kind.name} at {clients} clients: {done.stdout[-500:]}{done.stderr[-500:]}"
            )
        p50, p95, p99, rate = (round(float(number), 3) for number in found.groups()[:4])
        return {"p50": p50, "p95": p95, "p99": p99, "texts_per_second": rate}


@contextlib.contextmanager
def running(kind: ServerKind, project: Path, workers: int, text: str, log: Path) -> Iterator[Server]:
    """Start a server and wait until it responds. Stop it and all its processes at the end.

    Raises:
        RuntimeError: If it does not respond in time.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [part.replace("{port}", str(port)) for part in kind.command]
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=_environment(kind, project, workers),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(kind, port, process.pid, 0.0)
    try:
        while True:
            try:
                server.post(text)
                break
            except (OSError, urllib.error.URLError):
                if process.poll() is not None or time.monotonic() - began > MAX_START:
                    tail = log.read_text(encoding="utf-8", errors="replace")[-800:]
                    raise RuntimeError(f"{kind.name} did not respond: {tail}") from None
                time.sleep(0.02)
        server.seconds = round(time.monotonic() - began, 2)
        yield server
    finally:
        _stop(process)


def _environment(kind: ServerKind, project: Path, workers: int) -> dict[str, str]:
    return os.environ | {
        "MODEL": str(Layout(project).onnx),
        "WORKERS": str(workers),
        "PATH": f"{kind.needs.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": str(kind.threads),
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "BENTOML_DO_NOT_TRACK": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlflow.db",
    }


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a process and all its descendants, by force if they do not end in 10 s."""
    family = _family(process.pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def require_wrk() -> None:
    """Check that the load generator is installed.

    Raises:
        InputError: If it is not.
    """
    if not shutil.which("wrk"):
        raise InputError(
            "wrk, which makes the load, is not installed; install it (Debian: apt-get install wrk)"
        )


LUA = """
local bodies = {}
for line in io.lines("BODIES") do bodies[#bodies + 1] = line end
local i = 0
request = function()
  i = i % #bodies + 1
  return wrk.format("POST", "PATH", {["Content-Type"] = "application/json"}, bodies[i])
end
done = function(summary, latency, requests)
  local errors = summary.errors
  local wrong = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("RESULT %f %f %f %f %d\\n",
    latency:percentile(50) / 1000, latency:percentile(95) / 1000, latency:percentile(99) / 1000,
    summary.requests / (summary.duration / 1e6), wrong))
end
"""


def _post(address: str, body: str) -> None:
    request = urllib.request.Request(
        address, data=body.encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        answer.read()


def _family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text(encoding="ascii").split()]
        except OSError:
            continue
        for child in children:
            found += _family(child)
    return found


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return int(next(line for line in text.splitlines() if line.startswith("Pss:")).split()[1])
