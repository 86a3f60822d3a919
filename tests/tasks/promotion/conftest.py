"""A project with an SQLite registry, and versions of its model that load and answer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tokensieve.project import Layout
from tokensieve.settings import render


@pytest.fixture
def layout(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A project in a folder named tickets, with an empty registry."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    layout = Layout(tmp_path / "tickets")
    layout.root.mkdir()
    shutil.copy(database, layout.at("mlflow.db"))
    layout.params.write_text(render(), encoding="utf-8")
    return layout


@pytest.fixture
def client(layout: Layout) -> MlflowClient:
    uri = f"sqlite:///{layout.at('mlflow.db')}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.fixture
def register(layout: Layout, client: MlflowClient, served_folder: Path) -> Callable[..., None]:
    """Register versions of the model 'tickets', each with files of its own; the last is the
    challenger.
    """

    def versions(count: int, tags: dict[str, str] | None = None, **metrics: float) -> None:
        if not client.search_registered_models():
            client.create_registered_model("tickets")
        for _ in range(count):
            run = client.create_run("0")
            for key, value in metrics.items():
                client.log_metric(run.info.run_id, key, value)
            number = str(len(client.search_model_versions("name = 'tickets'")) + 1)
            folder = layout.at(f"model-{number}")
            shutil.copytree(served_folder, folder / "data" / "onnx")
            made = client.create_model_version("tickets", folder.as_uri(), run.info.run_id, tags)
            client.set_registered_model_alias("tickets", "challenger", str(made.version))

    return versions
