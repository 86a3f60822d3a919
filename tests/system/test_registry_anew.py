"""A registry that is lost and made anew: its version 1 is another model than the one that a server
answers with.
"""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from .conftest import BIN, free_port, wait_for


def asked(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return dict(json.load(response))


def registered(address: str, folder: Path) -> None:
    """Register `folder` as version 1 of model m, its champion."""
    client = MlflowClient(tracking_uri=address, registry_uri=address)
    run = client.create_run(client.create_experiment("e"))
    client.log_artifacts(run.info.run_id, str(folder), "model/data/onnx")
    client.create_registered_model("m")
    client.create_model_version("m", f"{run.info.artifact_uri}/model", run.info.run_id)
    client.set_registered_model_alias("m", "champion", "1")


@pytest.mark.timeout(600)
def test_a_server_follows_a_registry_that_was_made_anew(
    start: Callable[..., Any],
    start_mlflow: Callable[..., Any],
    environment: dict[str, str],
    served_folder: Path,
    tmp_path: Path,
) -> None:
    other = Path(shutil.copytree(served_folder, tmp_path / "other"))
    manifest = json.loads((other / "manifest.json").read_text(encoding="utf-8"))
    manifest["labels"] = [f"new {label}" for label in manifest["labels"]]
    (other / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    first, second = (f"sqlite:///{tmp_path}/{name}.db" for name in ("first", "second"))

    mlflow = start_mlflow(database=first)
    address, mlflow_port = mlflow.url.removesuffix("/health"), int(mlflow.url.split(":")[2].split("/")[0])
    registered(address, served_folder)
    environment["MLFLOW_TRACKING_URI"] = address
    port = free_port()
    command = [str(BIN / "tokensieve"), "serve", "--model", "models:/m@champion", "--port", str(port)]
    service = f"http://127.0.0.1:{port}"
    start("serve", *command, "--poll-interval", "1", url=f"{service}/ready")

    def label() -> str:
        return str(asked(f"{service}/predict", {"text": "my card is lost"})["label"])

    before = label()
    mlflow.stop()
    mlflow = start_mlflow(database=second, port=mlflow_port)
    # An empty registry has no champion: the server keeps its model and reports the reason.
    wait_for(
        lambda: "no model 'm' in the registry" in (asked(f"{service}/ready")["trouble"] or ""),
        90,
        "the server to see the empty registry",
    )
    assert label() == before
    registered(address, other)
    wait_for(lambda: label() == f"new {before}", 90, "the server to load the new version 1")
    assert asked(f"{service}/ready")["version"] == "1"
