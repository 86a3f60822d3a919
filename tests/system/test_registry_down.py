"""A server, and a prediction, start while MLflow is down: from the model that was fetched and
checked before.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from .conftest import BIN, free_port, wait_for


def ready(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=60) as response:
        return dict(json.load(response))


@pytest.mark.timeout(600)
def test_it_starts_while_mlflow_is_down(
    start: Callable[..., Any],
    start_mlflow: Callable[..., Any],
    tokensieve: Callable[..., Any],
    environment: dict[str, str],
    served_folder: Path,
    tmp_path: Path,
) -> None:
    mlflow = start_mlflow()
    address, mlflow_port = mlflow.url.removesuffix("/health"), int(mlflow.url.split(":")[2].split("/")[0])
    client = MlflowClient(tracking_uri=address, registry_uri=address)
    run = client.create_run(client.create_experiment("e"))
    client.log_artifacts(run.info.run_id, str(served_folder), "model/data/onnx")
    client.create_registered_model("m")
    client.create_model_version("m", f"{run.info.artifact_uri}/model", run.info.run_id)
    client.set_registered_model_alias("m", "champion", "1")
    environment["MLFLOW_TRACKING_URI"] = address
    arguments = ["predict", "--model", "models:/m@champion", "--json", "my card is lost"]
    known = tokensieve(*arguments)
    assert known.returncode == 0, known.stderr
    mlflow.stop()

    pinned = tokensieve(*[argument.replace("@champion", "/1") for argument in arguments])
    for down in (tokensieve(*arguments), pinned):
        assert down.returncode == 0, down.stderr
        assert down.stdout == known.stdout
        assert (
            "version 1 of model 'm' is the last one known and was fetched earlier: MLflow at" in down.stderr
        )
    absent = tokensieve("predict", "--model", "models:/m/2", "text")
    assert absent.returncode == 2
    assert "gives no answer" in absent.stderr

    port = free_port()
    command = [
        str(BIN / "tokensieve"),
        "serve",
        "--model",
        "models:/m@champion",
        "--port",
        str(port),
        "--poll-interval",
        "1",
    ]
    url = f"http://127.0.0.1:{port}/ready"
    start("serve", *command, url=url)
    assert ready(url)["version"] == "1"
    assert ready(url)["trouble"]
    start_mlflow(port=mlflow_port)
    wait_for(lambda: ready(url)["trouble"] is None, 90, "the server to see MLflow again")
