"""A registry, read in a process that has imported MLflow, and the answers that it keeps."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

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


def test_an_answer_that_cannot_be_had_is_not_kept(
    registry: tuple[str, MlflowClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise InputError("gone")

    monkeypatch.setattr(mlflow_client, "describe", fails)
    keep_answer(registry[0], tmp_path / "kept", "tickets")
    assert not (tmp_path / "kept").exists()
