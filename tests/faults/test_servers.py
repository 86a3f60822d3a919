"""Servers that end without warning in the middle of a run and start again."""

from __future__ import annotations

import csv
import json
import re
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.faults.conftest import NAME, Row, line_of
from tests.system.conftest import BIN, Process, free_port, wait_for
from tests.system.postgres import Postgres

# Which server ends, and what the run has printed then.
CRASHES = (
    ("Prefect", "mask       ..."),
    ("Prefect", "register   ..."),
    ("MLflow", "register   ..."),
    ("PostgreSQL", "finetune   ..."),
    ("PostgreSQL", "register   ..."),
)
SECONDS = 300.0  # within which a run ends on a busy machine


@pytest.mark.timeout(2400)
def test_servers_restarted_in_a_run(
    start: Callable[..., Process],
    start_prefect: Callable[..., Process],
    start_mlflow: Callable[..., Process],
    postgres: Postgres,
    environment: dict[str, str],
    tokensieve: Callable[..., Any],
    small: list[str],
    tiny_texts: tuple[list[str], list[str]],
    tmp_path: Path,
    table: Row,
) -> None:
    databases = {name: postgres(f"faults_{name}") for name in ("prefect", "mlflow")}
    databases["prefect"] = re.sub("^postgresql:", "postgresql+asyncpg:", databases["prefect"])
    servers = {"Prefect": start_prefect(databases["prefect"]), "MLflow": start_mlflow(databases["mlflow"])}
    address = environment["MLFLOW_TRACKING_URI"] = servers["MLflow"].url.removesuffix("/health")
    ports = {name: int(server.url.split(":")[2].split("/")[0]) for name, server in servers.items()}
    project, data, port = tmp_path / NAME, tmp_path / "texts.csv", free_port()

    def crash_and_restart(name: str) -> None:
        if name == "PostgreSQL":
            postgres.crash()
            postgres.start()
            wait_for(postgres.responds, 60, "PostgreSQL")
            return
        servers[name].kill()
        begin = start_prefect if name == "Prefect" else start_mlflow
        servers[name] = begin(databases[name.lower()], port=ports[name])

    def answer() -> str:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/predict", b'{"text": "hello"}', {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return str(json.load(response)["version"])

    _write(data, tiny_texts, 0)
    run = ("run", "--project", str(project), "--data", str(data))
    for command in ((*run, *small), ("promote", "--project", str(project))):
        done = tokensieve(*command)
        assert done.returncode == 0, done.stderr
    serve = ("serve", "--model", f"models:/{NAME}@champion", "--port", str(port), "--poll-interval", "1")
    start("serve", str(BIN / "tokensieve"), *serve, url=f"http://127.0.0.1:{port}/ready")

    for number, (name, marker) in enumerate(CRASHES, 1):
        _write(data, tiny_texts, number)
        running = start(f"run{number}", str(BIN / "tokensieve"), *run)
        wait_for(partial(_reached, running, marker), SECONDS, marker)
        crash_and_restart(name)
        began = time.monotonic()
        running.popen.wait(SECONDS)
        outcome = "the run completes"
        if running.popen.returncode:
            outcome = "the run ends with one line; the same command goes on"
            line_of(running.popen.returncode, running.text())
            done = tokensieve(*run)
            assert done.returncode == 0, (name, done.stderr)
        stage = marker.split()[0]
        table(f"{name} killed and started again in {stage}", outcome, time.monotonic() - began)
        assert answer() == "1"
        client = MlflowClient(address, address)
        found = client.search_model_versions(f"name = '{NAME}'")
        assert sorted(int(version.version) for version in found) == list(range(1, number + 2)), name
        statuses = {client.get_run(version.run_id).info.status for version in found}
        assert statuses == {"FINISHED"}, name
        aliases = {key: str(value) for key, value in client.get_registered_model(NAME).aliases.items()}
        assert (aliases["champion"], aliases["challenger"]) == ("1", str(number + 1)), name


def _reached(running: Process, marker: str) -> bool:
    assert running.popen.poll() is None, running.text()
    return marker in running.text()


def _write(path: Path, tiny_texts: tuple[list[str], list[str]], day: int) -> None:
    """Write the texts, and `day` more of each class."""
    rows = list(zip(*tiny_texts, strict=True))
    rows += [(f"{text} {number}", label) for number in range(day) for text, label in rows[::12]]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
