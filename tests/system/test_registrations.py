"""A retrain names what the registry has, whatever happened to the registry since.

On a real MLflow server and the plain store.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.stage import STAGES as NAMES

BIN = Path(sys.executable).parent
STAGES = list(NAMES)
Command = Callable[..., subprocess.CompletedProcess[str]]
# What MLflow's own client sees of version `number` of model `name`: its run, its files, its
# aliases.
SEE = """
import json, sys
import mlflow.artifacts
from mlflow import MlflowClient
name, number = sys.argv[1:]
client = MlflowClient()
found = client.get_model_version(name, number)
run = client.get_run(found.run_id)
files = mlflow.artifacts.list_artifacts(client.get_model_version_download_uri(name, number) + "/data/onnx")
count = len(client.search_model_versions(f"name = '{name}'"))
print(json.dumps({
    "files": sorted(file.path.rpartition("/")[2] for file in files),
    "aliases": sorted(found.aliases), "versions": count,
    "tags": {**run.data.tags, **found.tags}, "params": run.data.params, "uri": run.info.artifact_uri,
}))
"""


@pytest.fixture
def retrain(
    tokensieve: Command, data_file: Path, small: list[str], tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """Run `tokensieve run` on a project in the folder tickets and return its summary, with what it
    wrote to stderr.
    """

    def run(*settings: str) -> dict[str, Any]:
        done = tokensieve(
            "run", "--project", "tickets", "--data", str(data_file), "--json", *small, *settings, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout)) | {"log": done.stderr}

    return run


@pytest.fixture
def see(environment: dict[str, str], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return what MLflow's client sees of the version that a summary names."""

    def look(summary: dict[str, Any]) -> dict[str, Any]:
        command = [str(BIN / "python"), "-c", SEE, summary["model_name"], summary["model_version"]]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout.splitlines()[-1]))

    return look


@pytest.fixture
def change(environment: dict[str, str], tmp_path: Path) -> Callable[[str], None]:
    """Run a line of Python with MLflow's client as `client`."""

    def run(line: str) -> None:
        program = f"from mlflow import MlflowClient; client = MlflowClient(); {line}"
        subprocess.run(
            [str(BIN / "python"), "-c", program],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            timeout=300,
            check=True,
        )

    return run


def is_there(seen: dict[str, Any]) -> bool:
    return seen["aliases"][-1:] == ["challenger"] and {
        "manifest.json",
        "model.onnx",
        "tokenizer.json",
    } <= set(seen["files"])


@pytest.mark.timeout(1200)
def test_a_summary_names_what_the_registry_has(
    start_prefect: Callable[..., Any],
    start_mlflow: Callable[..., Any],
    environment: dict[str, str],
    retrain: Callable[..., dict[str, Any]],
    see: Callable[..., dict[str, Any]],
    change: Callable[[str], None],
    tmp_path: Path,
) -> None:
    start_prefect()
    server = start_mlflow()
    environment["MLFLOW_TRACKING_URI"] = server.url.removesuffix("/health")
    first = retrain()
    assert (first["model_name"], first["model_version"]) == ("tickets", "1")
    seen = see(first)
    assert is_there(seen)
    assert seen["tags"]["tokensieve.project"].startswith("tickets-")
    assert {"environment.torch", "environment.processor", "environment.tokensieve_commit"} <= seen[
        "params"
    ].keys()

    # The challenger's version was deleted; the model was renamed, and another's files were deleted.
    change("client.delete_model_version('tickets', '1')")
    again = retrain()
    assert (again["model_version"], again["skipped"]) == ("2", STAGES[:-1])
    assert is_there(see(again))
    change("client.rename_registered_model('tickets', 'mails')")
    shutil.rmtree(tmp_path / "mlflow" / "artifacts")
    again = retrain()
    assert (again["model_name"], again["model_version"], again["skipped"]) == ("tickets", "1", STAGES[:-1])
    assert is_there(see(again))

    # dvc repro takes nothing from a cache either.
    change("client.delete_model_version('tickets', '1')")
    done = subprocess.run(
        [str(BIN / "dvc"), "repro"],
        env=environment,
        cwd=tmp_path / "tickets",
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    again = retrain()
    assert (again["model_version"], again["skipped"]) == ("2", STAGES)
    assert is_there(see(again))

    # Another store is named: the project's own. Then that one is emptied.
    del environment["MLFLOW_TRACKING_URI"]
    database = tmp_path / "tickets" / "mlflow.db"
    for lose in (lambda: None, lambda: database.write_bytes(b"")):
        lose()
        again = retrain()
        assert (again["model_version"], again["skipped"]) == ("1", STAGES[:-1])
        environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{database}"
        assert is_there(see(again))
        del environment["MLFLOW_TRACKING_URI"]
    assert server.errors() == []


@pytest.mark.timeout(1200)
def test_an_unchanged_nightly_does_nothing_whatever_was_promoted(
    start_prefect: Callable[..., Any],
    start_mlflow: Callable[..., Any],
    postgres: Callable[[str], str],
    environment: dict[str, str],
    retrain: Callable[..., dict[str, Any]],
    see: Callable[..., dict[str, Any]],
    change: Callable[[str], None],
    tokensieve: Command,
    tmp_path: Path,
) -> None:
    start_prefect()
    server = start_mlflow(postgres("nightly"))
    environment["MLFLOW_TRACKING_URI"] = server.url.removesuffix("/health")

    def move(*command: str) -> None:
        done = tokensieve(*command, "--project", str(tmp_path / "tickets"))
        assert done.returncode == 0, done.stderr

    first = retrain()
    move("promote")
    again = retrain()
    assert (again["model_version"], again["skipped"]) == (first["model_version"], STAGES)
    second = retrain("finetune.learning_rate=0.002")
    assert second["model_version"] == "2"
    move("promote")
    move("rollback")
    again = retrain()
    assert (again["model_version"], again["skipped"]) == ("2", STAGES)
    assert see(again)["versions"] == 2

    # The champion's files are missing, but its alias is left: a retrain continues with a warning.
    shutil.rmtree(
        next(
            (tmp_path / "mlflow" / "artifacts").glob(
                f"*/{see(first)['uri'].rpartition('/artifacts')[0].rpartition('/')[2]}"
            )
        )
    )
    third = retrain("finetune.learning_rate=0.003")
    assert third["model_version"] == "3"
    assert (
        "the champion, version 1 of model 'tickets', has lost files; this run goes on without a champion"
        in third["log"]
    )
    change("client.delete_registered_model('tickets')")
    again = retrain()
    assert (again["model_version"], again["skipped"]) == ("1", STAGES[:-1])
    assert is_there(see(again))
    change("client.delete_experiment(client.get_experiment_by_name('tokensieve').experiment_id)")
    done = tokensieve("run", "--project", "tickets", cwd=tmp_path)
    assert done.returncode == 2
    assert "experiment 'tokensieve' is deleted; restore it" in done.stderr
    assert server.errors() == []
