"""Promotions and rollbacks on real MLflow servers, on SQLite and PostgreSQL: from the command line,
several at once, timed.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent
Command = Callable[..., subprocess.CompletedProcess[str]]
# Versions of a model, with their files on the server and figures in their runs. MLflow's client is
# what any other program would use.
MAKE = """
import sys
from mlflow import MlflowClient
name, project, count, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
client = MlflowClient()
if name not in [model.name for model in client.search_registered_models()]:
    client.create_registered_model(name)
for i in range(count):
    run = client.create_run("0")
    client.log_metric(run.info.run_id, "test_accuracy", 0.5 + i / 100)
    client.log_artifacts(run.info.run_id, folder, "model/data/onnx")
    source = run.info.artifact_uri + "/model"
    tags = {"tokensieve.project": project} if project else None
    made = client.create_model_version(name, source, run.info.run_id, tags)
    client.set_registered_model_alias(name, "challenger", made.version)
"""
SHOW = """
import json, sys
from mlflow import MlflowClient
model = MlflowClient().get_registered_model(sys.argv[1])
print(json.dumps({"aliases": {key: str(value) for key, value in model.aliases.items()}, "tags": model.tags}))
"""


def cpu_seconds() -> float:
    """Return the seconds of the processor that child processes have taken so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture
def project(tmp_path: Path, tokensieve: Command) -> Path:
    """A project in a folder named tickets."""
    done = tokensieve("init", "tickets", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path / "tickets"


@pytest.fixture
def python(environment: dict[str, str], tmp_path: Path) -> Callable[..., str]:
    """Run a program of the tests in a process of its own; returns its output."""

    def run(program: str, *arguments: str) -> str:
        command = [str(BIN / "python"), "-c", program, *arguments]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def make(python: Callable[..., str], served_folder: Path) -> Callable[..., None]:
    """Register `count` versions of model `name`, of `project` or of none."""

    def versions(count: int, name: str = "tickets", project: str = "") -> None:
        python(MAKE, name, project, str(count), str(served_folder))

    return versions


def state(python: Callable[..., str], name: str = "tickets") -> dict[str, Any]:
    return dict(json.loads(python(SHOW, name).splitlines()[-1]))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("store", ["server on PostgreSQL", "server on SQLite", "SQLite file"])
def test_champions_move_at_once_and_back(
    store: str,
    start_mlflow: Callable[..., Any],
    postgres: Callable[[str], str],
    environment: dict[str, str],
    project: Path,
    tokensieve: Command,
    python: Callable[..., str],
    make: Callable[..., None],
) -> None:
    server = None
    if store == "SQLite file":
        environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{project}/mlflow.db"
    else:
        server = start_mlflow(postgres("promotions") if "PostgreSQL" in store else "")
        environment["MLFLOW_TRACKING_URI"] = server.url.removesuffix("/health")
    make(4)

    # Four at once: one or more succeed one after the other, the others are told. None is lost from
    # the record.
    command = [str(BIN / "tokensieve"), "promote", "--project", str(project), "--version"]
    started = [
        subprocess.Popen(
            [*command, version], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        for version in "1234"
    ]
    errors = {}
    for version, process in zip("1234", started, strict=True):
        told = process.communicate(timeout=400)[1].decode()
        if process.returncode:
            assert process.returncode == 2, told
            assert f"version {version} was not made the champion: at the same time, " in told, told
            errors[version] = told
    history = json.loads(tokensieve("history", "--project", str(project), "--json").stdout)
    assert history["intact"]
    assert sorted(entry["to"] for entry in history["entries"]) == sorted(set("1234") - errors.keys())
    assert {entry["outcome"] for entry in history["entries"]} == {"done"}
    assert state(python)["aliases"]["champion"] == history["entries"][-1]["to"]

    # A sentence with both figures and the way back, and JSON. A person waits for less than 2 s on
    # an idle machine. Two processes that share a core take up to twice the seconds of the
    # processor, and a slow one twice that.
    for version in "1234":
        done = tokensieve("promote", "--project", str(project), "--version", version)
        assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"Version 4 of 'tickets' (is now|already is) the champion \(test accuracy 0\.5300\)\.(.|\n)*",
        done.stdout,
    ), done.stdout
    assert state(python)["aliases"] == {"challenger": "4", "champion": "4", "previous": "3"}
    seconds = []
    for _ in range(2):
        begin = cpu_seconds()
        done = tokensieve(
            "promote", "--project", str(project), "--version", "2", "--json", "--reason", "to and fro"
        )
        seconds.append(cpu_seconds() - begin)
        assert json.loads(done.stdout)["figures"] == {"test_accuracy": 0.51}
        begin = cpu_seconds()
        done = tokensieve("rollback", "--project", str(project))
        seconds.append(cpu_seconds() - begin)
        assert done.stdout.startswith(
            "Version 4 of 'tickets' is the champion again (test accuracy 0.5300). Before: version 2 ("
        ), done.stderr
        assert (
            f'To undo, with a reason: tokensieve promote --version 2 --reason "..." --project {project}'
            in done.stdout
        )
    assert min(seconds) < 8, seconds

    # What was rolled back needs its number and a reason. A deleted version is passed over.
    done = tokensieve("promote", "--project", str(project), "--version", "2")
    assert (done.returncode, "version 2 was rolled back" in done.stderr) == (1, True), done.stderr
    python("from mlflow import MlflowClient; MlflowClient().delete_model_version('tickets', '3')")
    for _ in range(9):
        done = tokensieve("rollback", "--project", str(project))
        if done.returncode:
            break
        assert "Version 3 " not in done.stdout
    assert (done.returncode, "model 'tickets' has no earlier champion" in done.stderr) == (2, True), (
        done.stderr
    )

    # A version of another project is promoted only with an option.
    make(1, project="mails-0000abcd")
    done = tokensieve("promote", "--project", str(project))
    assert (
        done.returncode,
        "version 5 of model 'tickets' was registered by project 'mails-0000abcd', not by this one"
        in done.stderr,
    ) == (2, True)
    done = tokensieve("promote", "--project", str(project), "--other-project")
    assert done.returncode == 0, done.stderr
    assert state(python)["aliases"]["champion"] == "5"
    assert server is None or server.errors() == []
