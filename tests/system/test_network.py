"""No command tries to leave the machine: no library reports its use, looks for updates, or asks a
name server.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import BIN, answers, free_port, wait_for

# What `environment` sets for other tests. Here a user has set nothing.
SWITCHES = (
    "DO_NOT_TRACK",
    "PREFECT_SERVER_ANALYTICS_ENABLED",
    "ORT_DISABLE_TELEMETRY",
    "MLFLOW_DISABLE_TELEMETRY",
)
TRACE = [
    "strace",
    "-f",
    "--seccomp-bpf",
    "-qq",
    "-e",
    "trace=connect,sendto,sendmsg,sendmmsg",
    "-e",
    "signal=none",
    "-o",
]
ADDRESS = re.compile(r'sa_family=AF_INET6?, .*?(?:inet_addr\("|inet_pton\(AF_INET6, ")([^"]+)"')


def left(trace: Path) -> list[str]:
    """Return the traced calls that name an address of another machine, a name server's among
    them.
    """
    lines = trace.read_text(encoding="utf-8", errors="replace").splitlines()
    return [
        line
        for line in lines
        if any(not re.match(r"127\.|::1$|::ffff:127\.", found) for found in ADDRESS.findall(line))
    ]


@pytest.mark.timeout(600)
@pytest.mark.skipif(
    not shutil.which("strace"), reason="strace is not installed (Debian: apt-get install strace)"
)
def test_no_command_leaves_the_machine(
    start: Callable[..., Any],
    start_mlflow: Callable[..., Any],
    environment: dict[str, str],
    small: list[str],
    data_file: Path,
    served_folder: Path,
    tmp_path: Path,
) -> None:
    for switch in SWITCHES:
        environment.pop(switch, None)
    project = tmp_path / "project"
    (tmp_path / "in.csv").write_text("text\nmy card is lost\n", encoding="utf-8")
    here = ["--project", str(project)]

    def traced(*arguments: str) -> str:
        trace = tmp_path / f"trace-{len(list(tmp_path.glob('trace-*')))}"
        command = [*TRACE, str(trace), str(BIN / "tokensieve"), *arguments]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr[-2000:]}"
        assert left(trace) == [], arguments
        return done.stderr

    mlflow = start_mlflow()
    environment["MLFLOW_TRACKING_URI"] = mlflow.url.removesuffix("/health")
    traced("run", *here, "--data", str(data_file), *small)
    registration = project / "artifacts" / "registration" / "registration.json"
    model = f"models:/{json.loads(registration.read_text())['name']}@champion"
    traced("promote", *here)
    assert "the champion" in traced("predict", *here, "my card is lost")
    traced("predict", *here, "--model", model, "--input", "in.csv", "--output", "out.csv")
    traced("data", "list", *here)
    traced("export-triton", *here, "--model", str(served_folder), "--output", str(tmp_path / "triton"))
    port, trace = free_port(), tmp_path / "trace-serve"
    command = [
        *TRACE,
        str(trace),
        str(BIN / "tokensieve"),
        "serve",
        *here,
        "--model",
        model,
        "--port",
        str(port),
    ]
    server = start("serve", *command, url=f"http://127.0.0.1:{port}/ready")
    wait_for(lambda: answers(f"http://127.0.0.1:{port}/docs"), 120, "the docs")
    server.stop(signal.SIGTERM)
    assert left(trace) == []
    assert [path for path in Path(environment["HOME"]).rglob("*") if "Microsoft" in path.parts] == []
