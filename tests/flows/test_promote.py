from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from prefect.logging import disable_run_logger

from flows.promote import promote
from flows.rollback import rollback
from tokensieve.errors import InputError
from tokensieve.settings import Settings, render


@pytest.fixture
def project(tmp_path: Path, served_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with two registered versions.

    The flows' functions are called without Prefect's engine: no server starts.
    """
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "params.yaml").write_text(
        render(Settings.of({"register": {"name": "classifier"}})), encoding="utf-8"
    )
    shutil.copytree(served_folder, tmp_path / "model" / "data" / "onnx")
    registry(tmp_path).create_registered_model("classifier")
    for _ in range(2):
        registry(tmp_path).create_model_version("classifier", (tmp_path / "model").as_uri())
    registry(tmp_path).set_registered_model_alias("classifier", "challenger", "2")
    with disable_run_logger():
        yield tmp_path


def registry(project: Path) -> MlflowClient:
    return MlflowClient(
        tracking_uri=f"sqlite:///{project}/mlflow.db", registry_uri=f"sqlite:///{project}/mlflow.db"
    )


def test_a_champion_is_promoted_and_rolled_back(project: Path) -> None:
    def champion() -> str:
        return str(registry(project).get_model_version_by_alias("classifier", "champion").version)

    assert promote.fn(project, "1")["replaced"] is None
    assert champion() == "1"
    assert promote.fn(project)["replaced"] == "1"
    assert champion() == "2"
    assert rollback.fn(project)["version"] == "1"
    assert champion() == "1"
    with pytest.raises(InputError, match="no earlier champion"):
        rollback.fn(project)
    assert promote.fn(project, "2", reason="it was not the model")["version"] == "2"


def test_a_version_that_is_not_written_as_a_number_is_refused(project: Path) -> None:
    for version in ("01", "\u0661", ""):
        with pytest.raises(InputError, match=r"version is .*; allowed: digits"):
            promote.fn(project, version)


def test_a_project_without_settings_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"params\.yaml is missing"):
        promote.fn(tmp_path)


def test_parameters_are_read_as_the_command_line_gives_them() -> None:
    assert promote.validate_parameters({"project": "some/where", "version": "3"}) == {
        "project": Path("some/where"),
        "version": "3",
        "reason": None,
        "other_project": False,
        "force": False,
    }
    assert rollback.validate_parameters({"project": "."}) == {"project": Path(), "reason": None}
