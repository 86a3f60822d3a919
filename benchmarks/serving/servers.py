"""Servers to be measured: started, asked by wrk, weighed, stopped."""

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
from tokensieve.project import Layout

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0  # seconds until a server must answer


@dataclass(frozen=True)
class Kind:
    """How a server is started on a port, where it answers, and how a text is asked for. `needs` is the program of its environment."""

    name: str
    command: tuple[str, ...]
    path: str
    needs: Path
    asks: str = '{"text": %s}'
    threads: int = 1  # of a process

    def body(self, text: str) -> str:
        return self.asks % json.dumps(text)


def kinds(rivals: Path, project: Path, workers: int) -> list[Kind]:
    """Ours and the rivals, each in an environment of its own in the folder `rivals`, on as many workers of one thread.

    infinity-emb has one worker, of as many threads, and gives the encoder's embedding of a text: it has no place for the head.
    """
    python, bento, infinity = (
        rivals / name for name in ("litserve/bin/python", "bentoml/bin/bentoml", "infinity/bin/infinity_emb")
    )
    here, mlflow = (Path(sys.executable).with_name(name) for name in ("tokensieve", "mlflow"))
    model = project / "artifacts/registration/registration.json"
    uri = json.loads(model.read_text(encoding="utf-8"))["uri"] if model.exists() else ""
    ours = ("serve", "--model", str(Layout(project).onnx), "--workers", str(workers), "--port", "{port}")
    served = (
        "models",
        "serve",
        "-m",
        uri,
        "--env-manager",
        "local",
        "--workers",
        str(workers),
        "--port",
        "{port}",
    )
    return [
        Kind("tokensieve", (str(here), *ours), "/predict", here),
        Kind(
            "BentoML",
            (str(bento), "serve", "benchmarks.serving.rivals.bento:Classifier", "--port", "{port}"),
            "/predict",
            bento,
        ),
        Kind("LitServe", (str(python), "-m", "benchmarks.serving.rivals.lit", "{port}"), "/predict", python),
        Kind(
            "mlflow models serve",
            (str(mlflow), *served),
            "/invocations",
            mlflow,
            '{"inputs": {"text": [%s]}}',
        ),
        Kind(
            "infinity-emb, no head",
            (
                str(infinity),
                "v2",
                "--model-id",
                str(Layout(project).model),
                "--device",
                "cpu",
                "--port",
                "{port}",
                "--host",
                "127.0.0.1",
            ),
            "/embeddings",
            infinity,
            '{"model": "encoder", "input": [%s]}',
            threads=workers,
        ),
    ]


class Server:
    """A running server; `seconds` is what it took from its start to its first answer."""

    def __init__(self, kind: Kind, port: int, pid: int, seconds: float) -> None:
        self.kind, self.port, self.pid, self.seconds = kind, port, pid, seconds

    def ask(self, text: str) -> None:
        _post(f"http://127.0.0.1:{self.port}{self.kind.path}", self.kind.body(text))

    def memory(self) -> float:
        """MiB of its processes together, shared pages counted once (PSS)."""
        return round(sum(_pss(pid) for pid in _family(self.pid)) / 1024, 1)

    def load(self, texts: Sequence[str], clients: int, seconds: int, scratch: Path) -> dict[str, float]:
        """What wrk measures with so many clients: answers a second, and milliseconds p50, p95, p99.

        Raises:
            RuntimeError: an answer was not of status 200, or wrk failed.
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
        return {"p50": p50, "p95": p95, "p99": p99, "texts_a_second": rate}


@contextlib.contextmanager
def running(kind: Kind, project: Path, workers: int, text: str, log: Path) -> Iterator[Server]:
    """The server, ready; it and all that it started are stopped in the end.

    Raises:
        RuntimeError: it did not answer in time.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
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
    command = [part.replace("{port}", str(port)) for part in kind.command]
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(kind, port, process.pid, 0.0)
    try:
        while True:
            try:
                server.ask(text)
                break
            except (OSError, urllib.error.URLError):
                if process.poll() is not None or time.monotonic() - began > PATIENCE:
                    tail = log.read_text(encoding="utf-8", errors="replace")[-800:]
                    raise RuntimeError(f"{kind.name} gave no answer: {tail}") from None
                time.sleep(0.02)
        server.seconds = round(time.monotonic() - began, 2)
        yield server
    finally:
        family = _family(process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait()


def require_wrk() -> None:
    """Raises InputError: the load generator is not installed."""
    if not shutil.which("wrk"):
        raise InputError("wrk is not installed, which makes the load; Debian's package wrk has it")


LUA = """
local bodies = {}
for line in io.lines("BODIES") do bodies[#bodies + 1] = line end
local i = 0
request = function()
  i = i % #bodies + 1
  return wrk.format("POST", "PATH", {["Content-Type"] = "application/json"}, bodies[i])
end
done = function(summary, latency, requests)
  local wrong = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  io.write(string.format("RESULT %f %f %f %f %d\\n", latency:percentile(50) / 1000, latency:percentile(95) / 1000,
    latency:percentile(99) / 1000, summary.requests / (summary.duration / 1e6), wrong))
end
"""


def _post(address: str, body: str) -> None:
    request = urllib.request.Request(
        address, data=body.encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        answer.read()


def _family(pid: int) -> list[int]:
    """A process and its descendants."""
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
