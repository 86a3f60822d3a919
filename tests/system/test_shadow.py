"""A server compares challenger and champion of a real MLflow server while aliases move."""

from __future__ import annotations

import json
import shutil
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tasks.promotion.gate_report import GateReport
from tasks.promotion.shadow_rule import with_shadow
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.shadow_report import ShadowReport
from tokensieve.project import Layout
from tokensieve.registry.models import open_reader

from .conftest import BIN, free_port, wait_for

TEXTS = ["my card is lost", "send money to my card", "is my money lost"]
OPTIONS = ["--shadow", "models:/m@challenger", "--shadow-share", "1", "--poll-interval", "0.5"]


def predict(url: str, text: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{url}/predict", json.dumps({"text": text}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return dict(json.load(response))


@pytest.mark.timeout(600)
def test_aliases_move_during_traffic_and_the_gate_reads_the_report(
    start: Callable[..., Any],
    start_mlflow: Callable[..., Any],
    environment: dict[str, str],
    served_folder: Path,
    tmp_path: Path,
) -> None:
    mlflow = start_mlflow()
    address = mlflow.url.removesuffix("/health")
    client = MlflowClient(tracking_uri=address, registry_uri=address)
    client.create_registered_model("m")
    experiment = client.create_experiment("e")
    for version in ("1", "2", "3"):
        folder = Path(shutil.copytree(served_folder, tmp_path / version))
        replace(Manifest.load(folder), data_hash=f"data-{version}").save(folder)
        run = client.create_run(experiment)
        client.log_artifacts(run.info.run_id, str(folder), "model/data/onnx")
        client.create_model_version("m", f"{run.info.artifact_uri}/model", run.info.run_id)
    client.set_registered_model_alias("m", "champion", "1")
    client.set_registered_model_alias("m", "challenger", "2")
    environment["MLFLOW_TRACKING_URI"] = address
    port = free_port()
    url, path = f"http://127.0.0.1:{port}", tmp_path / ".tokensieve" / "shadow.json"
    serve = [str(BIN / "tokensieve"), "serve", "--model", "models:/m@champion", "--port", str(port), *OPTIONS]
    server = start("serve", *serve, url=f"{url}/ready")
    stopped, answers = threading.Event(), []

    def traffic() -> None:
        while not stopped.wait(0.03):
            answers.extend(predict(url, text) for text in TEXTS[:1])

    thread = threading.Thread(target=traffic)
    thread.start()
    try:
        compared_pair(path, "1", "2")
        client.set_registered_model_alias("m", "challenger", "3")
        compared_pair(path, "1", "3")
        client.set_registered_model_alias("m", "champion", "3")
        wait_for(lambda: answers[-1]["version"] == "3", 60, "the champion to be 3")
        client.set_registered_model_alias("m", "challenger", "2")
        compared_pair(path, "3", "2")
    finally:
        stopped.set()
        thread.join()
    assert {answer["version"] for answer in answers} == {"1", "3"}
    assert {answer["label"] for answer in answers} == {answers[0]["label"]}
    assert server.errors() == []
    assert server.stop() == 0
    assert TEXTS[0] not in server.text() + path.read_text(encoding="utf-8")

    reader = open_reader(address)
    marks = {number: found.mark for number in ("2", "3") if (found := reader.version("m", number))}
    basis = {"challenger": f"2 {marks['2']}", "champion": f"3 {marks['3']}"}
    report = with_shadow(GateReport("m", "2", "3", "", (), basis=basis), Layout(tmp_path), 0.5)
    assert [(row.rule, row.verdict) for row in report.rows] == [("shadow", "within the limit")]


def compared_pair(path: Path, champion: str, challenger: str) -> None:
    """Wait until the report is about these versions, which agree on a few texts."""

    def done() -> bool:
        found = ShadowReport.load(path)
        return (
            found is not None
            and (found.champion.version, found.challenger.version) == (champion, challenger)
            and found.total.texts >= 3
            and found.total.agreement == 1.0
        )

    wait_for(done, 90, f"a comparison of {champion} and {challenger}")
