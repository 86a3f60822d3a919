"""The record of promotions: killed with kill -9 at every step, and written by several processes at
once.

On real MLflow servers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent
Command = Callable[..., subprocess.CompletedProcess[str]]
ALL = bool(os.environ.get("TOKENSIEVE_TEST_ALL"))  # every step and 50 rounds, not a few
ROUNDS = 50 if ALL else 5
MAKE = """
import sys
from mlflow import MlflowClient
client = MlflowClient()
client.create_registered_model("tickets")
for _ in range(4):
    run = client.create_run("0")
    client.log_artifacts(run.info.run_id, sys.argv[1], "model/data/onnx")
    made = client.create_model_version("tickets", run.info.artifact_uri + "/model", run.info.run_id)
    client.set_registered_model_alias("tickets", "challenger", made.version)
"""
SHOW = """
import json
from mlflow import MlflowClient
model = MlflowClient().get_registered_model("tickets")
print(json.dumps({key: str(value) for key, value in model.aliases.items()}))
"""
# `tokensieve promote`, killed before or after the change of the registry with number `step`.
KILLED = """
import os, signal, sys
from tokensieve.cli.main import main
from tokensieve.registry.mlflow_rest_editor import RestEditor
editor = RestEditor
if not os.environ["MLFLOW_TRACKING_URI"].startswith("http"):
    from tasks.tracking.mlflow_editor import MlflowEditor as editor
step, when = int(sys.argv.pop(1)), sys.argv.pop(1)
counted = iter(range(1000))
def killing(change):
    def changed(*arguments):
        number = next(counted)
        if number == step and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = change(*arguments)
        if number == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return changed
for name in ("create_experiment", "rename_experiment", "create_run", "write_once", "set_alias", "end_run"):
    setattr(editor, name, killing(getattr(editor, name)))
sys.exit(main())
"""
# Promote version `version` as often as lines arrive, and print what came of it.
ROUND = """
import sys
from pathlib import Path
from tasks.promotion.promote import promote
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.settings import Settings
layout, version = Layout(Path(sys.argv[1])), sys.argv[2]
print("ready", flush=True)
for line in sys.stdin:
    try:
        moved = promote(layout, Settings.load(layout.params), version, f"round {line.strip()}")
        print("won" if moved["version"] != moved["replaced"] else "same", flush=True)
    except InputError as error:
        print(error, flush=True)
"""


@pytest.fixture
def project(
    tmp_path: Path, tokensieve: Command, start_mlflow: Callable[..., Any], postgres: Callable[[str], str]
) -> Callable[[str, dict[str, str]], Path]:
    """Make a project in a folder named tickets, whose registry is of a kind."""

    def make(store: str, environment: dict[str, str]) -> Path:
        done = tokensieve("init", "tickets", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        uri = f"sqlite:///{tmp_path}/tickets/mlflow.db"
        if store == "PostgreSQL":
            uri = postgres("record")
        elif store.startswith("server"):
            server = start_mlflow(postgres("record") if "PostgreSQL" in store else "")
            uri = server.url.removesuffix("/health")
        environment["MLFLOW_TRACKING_URI"] = uri
        return tmp_path / "tickets"

    return make


@pytest.fixture
def python(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program of the tests in a process of its own."""

    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "python"), "-c", program, *arguments]
        return subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )

    return run


@pytest.mark.timeout(3600 if ALL else 1200)
@pytest.mark.parametrize("store", ["SQLite file", "server on PostgreSQL"])
def test_kill_9_at_any_step_loses_nothing(
    store: str,
    project: Callable[[str, dict[str, str]], Path],
    environment: dict[str, str],
    python: Callable[..., subprocess.CompletedProcess[str]],
    tokensieve: Command,
    served_folder: Path,
) -> None:
    folder = project(store, environment)
    assert python(MAKE, str(served_folder)).returncode == 0
    where = ["--project", str(folder)]

    def aliases() -> dict[str, str]:
        return dict(json.loads(python(SHOW).stdout.splitlines()[-1]))

    # The first is cut off while the record is made. Then the six changes of a move: the entry's
    # run, its place in the chain, champion, previous, done, end of the run.
    steps = [(3, "before"), *((step, "after") for step in range(5))]
    if ALL:
        steps = [(3, "before"), *((step, when) for step in range(6) for when in ("before", "after"))]
    table = []
    before: list[dict[str, Any]] = []
    for number, (step, when) in enumerate(steps):
        killed = python(KILLED, str(step), when, "promote", *where, "--version", str(1 + number % 2))
        assert killed.returncode == -9, killed.stderr
        left = json.loads(tokensieve("history", *where, "--json").stdout)["entries"][len(before) :]
        begin = time.monotonic()
        # Another version than the last time: the champion itself is not promoted again.
        target = str(3 + number % 2)
        done = tokensieve("promote", *where, "--version", target, "--reason", f"{when} {step}")
        seconds = time.monotonic() - begin
        assert done.returncode == 0, done.stderr
        after = json.loads(tokensieve("history", *where, "--json").stdout)
        added = after["entries"][len(before) :]
        assert after["intact"]
        assert (added[-1]["to"], added[-1]["outcome"]) == (target, "done")
        assert aliases()["champion"] == target
        # The entry of the killed process, if it was in the chain, has the outcome that the alias
        # shows.
        for entry in added[:-1]:
            assert entry["outcome"] == ("done" if added[-1]["from"] == entry["to"] else "abandoned")
        assert ("was cut off" in done.stderr) == any(entry["outcome"] is None for entry in left)
        table.append((step, when, [entry["outcome"] for entry in added], round(seconds, 1)))
        before = after["entries"]
    for row in table:
        sys.stdout.write(f"{row}\n")
    outcomes = Counter(outcome for row in table for outcome in row[2][:-1])
    assert outcomes["done"] >= 2 and outcomes["abandoned"] >= 1, table


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("store", ["PostgreSQL", "server on PostgreSQL"])
def test_four_processes_at_once(
    store: str,
    project: Callable[[str, dict[str, str]], Path],
    environment: dict[str, str],
    python: Callable[..., subprocess.CompletedProcess[str]],
    tokensieve: Command,
    served_folder: Path,
) -> None:
    folder = project(store, environment)
    assert python(MAKE, str(served_folder)).returncode == 0
    started = [
        subprocess.Popen(
            [str(BIN / "python"), "-c", ROUND, str(folder), version],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for version in "1234"
    ]
    outcomes: Counter[str] = Counter()
    champions: list[str] = []

    def answers() -> list[str]:
        return [process.stdout.readline().strip() for process in started if process.stdout]

    assert answers() == ["ready"] * 4
    for number in range(ROUNDS):
        for process in started:
            assert process.stdin
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
        found = answers()
        for version, answer in zip("1234", found, strict=True):
            told = answer not in ("won", "same")
            assert not told or answer.startswith(
                f"version {version} was not made the champion: at the same time, "
            )
            outcomes["told" if told else answer] += 1
        assert "won" in found
        champions.append(json.loads(python(SHOW).stdout.splitlines()[-1])["champion"])
    for process in started:
        process.communicate(timeout=60)
    history = json.loads(tokensieve("history", "--project", str(folder), "--json").stdout)
    entries = history["entries"]
    sys.stdout.write(f"{dict(outcomes)}\n")
    assert history["intact"]
    assert [entry["outcome"] for entry in entries] == ["done"] * outcomes["won"]
    assert [entry["number"] for entry in entries] == list(range(1, outcomes["won"] + 1))
    # Each move starts from the champion that the one before it made: no fork, nothing lost.
    assert [entry["from"] for entry in entries] == [None, *(entry["to"] for entry in entries[:-1])]
    last_of_round = {entry["reason"]: entry["to"] for entry in entries}
    assert [last_of_round[f"round {number}"] for number in range(ROUNDS)] == champions
