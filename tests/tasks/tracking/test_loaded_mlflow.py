"""A registry, read in a process that has imported MLflow, and the answers that it keeps."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient, MlflowException

from tasks.tracking import mlflow_client
from tasks.tracking.loaded_mlflow import LoadedMlflow
from tasks.tracking.registered_files import keep_answer, open_reader
from tokensieve.errors import InputError
from tokensieve.registry.mlflow_process import MlflowProcess
from tokensieve.registry.mlflow_rest import RestRegistry


@pytest.fixture
def registry(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, MlflowClient]:
    """Return the address and a client of a registry with a version of `tickets`, its champion.

    A child process fails.
    """

    def run(*_: Any, **__: Any) -> None:
        raise AssertionError("a child process was started")

    monkeypatch.setattr(subprocess, "run", run)
    uri = f"sqlite:///{shutil.copy(database, tmp_path / 'mlflow.db')}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.create_registered_model("tickets")
    made = client.create_model_version(
        "tickets", (tmp_path / "model").as_uri(), client.create_run("0").info.run_id
    )
    client.set_registered_model_alias("tickets", "champion", str(made.version))
    return uri, client


def test_a_process_with_mlflow_reads_the_registry_itself(registry: tuple[str, MlflowClient]) -> None:
    reader = open_reader(registry[0])
    assert isinstance(reader, LoadedMlflow)
    assert reader.models() == ["tickets"]
    assert reader.aliases("tickets") == {"champion": "1"}
    assert (found := reader.version("tickets", "1")) is not None
    assert found.location.endswith("/model")
    assert (reader.aliases("other"), reader.versions("other")) == (None, [])
    assert isinstance(open_reader("http://127.0.0.1:1"), RestRegistry)


def test_the_kept_answer_is_that_of_the_next_process_until_the_file_changes(
    registry: tuple[str, MlflowClient], tmp_path: Path
) -> None:
    uri, client = registry
    keep_answer(uri, tmp_path / "kept", "tickets")
    assert MlflowProcess(uri, tmp_path / "kept").aliases("tickets") == {"champion": "1"}
    client.set_registered_model_alias("tickets", "challenger", "1")
    with pytest.raises(AssertionError, match="a child process was started"):
        MlflowProcess(uri, tmp_path / "kept").aliases("tickets")


@pytest.mark.parametrize("error", [InputError("gone"), MlflowException("database is locked")])
def test_an_answer_that_cannot_be_had_is_not_kept(
    error: Exception, registry: tuple[str, MlflowClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(mlflow_client, "describe", fails)
    keep_answer(registry[0], tmp_path / "kept", "tickets")
    assert not (tmp_path / "kept").exists()
    reader = open_reader(registry[0])
    assert reader
    with pytest.raises(InputError):
        reader.aliases("tickets")


def test_a_file_that_replaces_the_one_that_was_read_is_read_by_a_child(
    registry: tuple[str, MlflowClient], tmp_path: Path
) -> None:
    """MLflow's connections of this process still read the old one."""
    reader = open_reader(registry[0])
    assert reader
    reader.aliases("tickets")
    shutil.copy(tmp_path / "mlflow.db", tmp_path / "backup.db")
    (tmp_path / "backup.db").replace(tmp_path / "mlflow.db")
    with pytest.raises(AssertionError, match="a child process was started"):
        reader.aliases("tickets")


def test_a_process_without_mlflow_asks_a_child(
    registry: tuple[str, MlflowClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "tasks.tracking.mlflow_client")
    assert type(open_reader(registry[0])) is MlflowProcess
