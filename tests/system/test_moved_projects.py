"""A moved, copied or cloned project finds its models and leaves the original as it was."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tasks.projects.moved_project import COLUMNS
from tests.system.conftest import BIN, free_port

Run = Callable[..., subprocess.CompletedProcess[str]]
TEXT = "where is my parcel"


@pytest.fixture
def program(environment: dict[str, str]) -> Run:
    """Run a program in a folder, with the environment of a user."""

    def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    return run


@pytest.fixture
def original(tokensieve: Run, small: list[str], data_file: Path, tmp_path: Path) -> Path:
    """A project with a champion in its own mlflow.db."""
    return _promoted(tokensieve, tmp_path / "tickets", small, data_file)


@pytest.mark.timeout(1200)
def test_a_copy_reads_and_writes_its_own_files_alone(
    original: Path, tokensieve: Run, program: Run, tmp_path: Path
) -> None:
    copy = tmp_path / "trial"
    shutil.copytree(original, copy, symlinks=True)
    before = _contents(original)
    answer = _predict(tokensieve, original)
    # Nothing in the original can be read any more, as on another machine.
    with _hidden(original):
        assert _predict(tokensieve, copy) == answer
        shutil.rmtree(copy / ".tokensieve" / "served")
        assert _predict(tokensieve, copy) == answer
    # `dvc repro` calls the stages without the flow.
    params = copy / "params.yaml"
    params.write_text(params.read_text().replace("max_epochs: 2", "max_epochs: 3"), encoding="utf-8")
    done = program(copy, "dvc", "repro")
    assert done.returncode == 0, done.stderr
    assert tokensieve("promote", "--version", "2", cwd=copy).returncode == 0
    assert _contents(original) == before
    assert set(_run_folders(copy)) > set(_run_folders(original))
    assert str(original) not in _addresses(copy)


@pytest.mark.timeout(1200)
def test_a_moved_project_answers_serves_and_goes_on(
    original: Path, tokensieve: Run, start: Callable[..., Any], tmp_path: Path
) -> None:
    answer = _predict(tokensieve, original)
    moved = tmp_path / "elsewhere" / "tickets"
    moved.parent.mkdir()
    original.rename(moved)
    shutil.rmtree(moved / ".tokensieve" / "served")
    assert _predict(tokensieve, moved) == answer
    shutil.rmtree(moved / ".tokensieve" / "served")
    port = free_port()
    command = [str(BIN / "tokensieve"), "serve", "--model", "models:/tickets@champion", "--port", str(port)]
    start("serve", *command, url=f"http://127.0.0.1:{port}/ready", cwd=moved)
    ran = tokensieve("run", "--json", cwd=moved)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["model_version"] == "1"
    assert not original.exists()
    assert str(original) not in _addresses(moved)


@pytest.mark.timeout(1200)
def test_a_clone_fetches_the_data_and_answers_as_the_original(
    original: Path, tokensieve: Run, program: Run, tmp_path: Path
) -> None:
    for command in (
        ["git", "init", "-q"],
        ["git", "config", "--global", "user.email", "a@b.c"],
        ["git", "config", "--global", "user.name", "a"],
    ):
        assert program(original, *command).returncode == 0
    assert tokensieve("run", cwd=original).returncode == 0
    for command in (
        ["dvc", "remote", "add", "--default", "storage", str(tmp_path / "remote")],
        ["dvc", "push"],
        ["git", "add", "-A"],
        ["git", "commit", "-qm", "project"],
        ["git", "clone", "-q", ".", str(tmp_path / "clone")],
    ):
        done = program(original, *command)
        assert done.returncode == 0, (command, done.stderr)
    clone, before = tmp_path / "clone", _contents(original)
    assert not (clone / "mlflow.db").exists()
    with _hidden(original):
        ran = tokensieve("run", "--json", cwd=clone)
        assert ran.returncode == 0, ran.stderr
        assert tokensieve("promote", cwd=clone).returncode == 0
        answer = _predict(tokensieve, clone)
    assert answer == _predict(tokensieve, original)
    assert _contents(original) == before


@pytest.mark.timeout(1200)
def test_a_copy_on_the_same_server_leaves_its_originals_challenger(
    tokensieve: Run,
    start_mlflow: Callable[..., Any],
    environment: dict[str, str],
    small: list[str],
    data_file: Path,
    tmp_path: Path,
) -> None:
    address = start_mlflow().url.removesuffix("/health")
    environment["MLFLOW_TRACKING_URI"] = address
    client = MlflowClient(address, address)
    original = _promoted(tokensieve, tmp_path / "tickets", small, data_file)
    named = _promoted(tokensieve, tmp_path / "claims", [*small, "register.name=claims"], data_file)
    for project in (original, named):
        shutil.copytree(project, tmp_path / f"{project.name}-copy", symlinks=True)
    aliases = {name: dict(client.get_registered_model(name).aliases) for name in ("tickets", "claims")}
    before = _contents(original)

    run = ("run", "--set", "finetune.max_epochs=3", "--project")
    done = tokensieve(*run, str(tmp_path / "tickets-copy"))
    assert done.returncode == 0, done.stderr
    assert f"this project is a copy of {original}" in done.stderr
    assert dict(client.get_registered_model("tickets-copy").aliases) == {"challenger": "1"}
    refused = tokensieve(*run, str(tmp_path / "claims-copy"))
    assert refused.returncode == 2
    # The command to type follows.
    (line,) = (line for line in refused.stderr.splitlines() if line.startswith("tokensieve: "))
    assert f"is a copy of {named}" in line
    assert "--set register.name=claims-copy" in line
    renamed = tokensieve(*run[:3], "register.name=claims-copy", "--project", str(tmp_path / "claims-copy"))
    assert renamed.returncode == 0, renamed.stderr
    found = {name: dict(client.get_registered_model(name).aliases) for name in ("tickets", "claims")}
    assert found == aliases
    assert _contents(original) == before


def _promoted(tokensieve: Run, project: Path, small: list[str], data_file: Path) -> Path:
    ran = tokensieve("run", "--project", str(project), "--data", str(data_file), *small)
    assert ran.returncode == 0, ran.stderr
    promoted = tokensieve("promote", "--project", str(project))
    assert promoted.returncode == 0, promoted.stderr
    return project


def _predict(tokensieve: Run, project: Path) -> str:
    """Return the champion's answer, which must not be the last export's."""
    done = tokensieve("predict", "--project", str(project), "--json", TEXT)
    assert done.returncode == 0, done.stderr
    assert "no champion" not in done.stderr
    return done.stdout


@contextlib.contextmanager
def _hidden(folder: Path) -> Iterator[None]:
    """Rename a folder for the time of the block."""
    aside = folder.with_name(f"{folder.name}-aside")
    folder.rename(aside)
    yield
    aside.rename(folder)


def _contents(project: Path) -> dict[str, str]:
    """Return the SHA-256 of each file, except caches of DVC and of the registry."""
    return {
        str(path.relative_to(project)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in project.rglob("*")
        if path.is_file() and not {"tmp", "served"} & set(path.relative_to(project).parts)
    }


def _run_folders(project: Path) -> list[str]:
    return [path.name for path in (project / "mlartifacts").iterdir()]


def _addresses(project: Path) -> str:
    """Return the addresses of files in the project's own registry, one per line."""
    with contextlib.closing(sqlite3.connect(project / "mlflow.db")) as database:
        rows = [row for table, column in COLUMNS for row in database.execute(f"SELECT {column} FROM {table}")]
    return "\n".join(str(address) for (address,) in rows)
