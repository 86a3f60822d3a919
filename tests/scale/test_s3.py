"""Data, models and data versions in S3: a clone elsewhere predicts the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import BIN, Process, free_port

Run = Callable[..., subprocess.CompletedProcess[str]]
TEXTS = ("where is my parcel", "block my card now", "I want my money back")


def without_keys(environment: dict[str, str]) -> None:
    """Leave a user without keys of the storage, as a serving machine is."""
    for name in [name for name in environment if name.startswith("AWS_")]:
        del environment[name]


@pytest.mark.timeout(1200)
def test_a_clone_elsewhere_with_empty_caches_predicts_the_same(
    s3: Any,
    start_mlflow_on_s3: Callable[..., Process],
    postgres: Callable[[str], str],
    start: Callable[..., Process],
    environment: dict[str, str],
    tokensieve: Run,
    small: list[str],
    data_file: Path,
    tmp_path: Path,
) -> None:
    s3.client.upload_file(str(data_file), "data", "in/texts.csv")
    address = start_mlflow_on_s3(postgres("scale_s3")).url.removesuffix("/health")
    environment["MLFLOW_TRACKING_URI"] = address
    project = tmp_path / "tickets"

    def program(folder: Path, *command: str) -> None:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, (command, done.stderr)

    project.mkdir()
    program(project, "git", "init", "-q")
    assert tokensieve("init", ".", cwd=project).returncode == 0
    program(project, "dvc", "remote", "add", "--default", "storage", "s3://dvc/store")
    ran = tokensieve("run", "--data", "s3://data/in/texts.csv", *small, cwd=project)
    assert ran.returncode == 0, ran.stderr
    assert tokensieve("promote", cwd=project).returncode == 0
    assert len(s3.names("dvc")) >= 2
    assert any(name.endswith("model/data/onnx/model.onnx") for name in s3.names("models"))
    assert not (project / "mlartifacts").exists()
    assert [path for path in project.rglob("*") if path.is_file() and _has(path, s3.keys)] == []
    answers = tokensieve("predict", "--json", *TEXTS, cwd=project).stdout
    assert len(answers.splitlines()) == len(TEXTS)
    program(project, "git", "config", "user.email", "a@b.c")
    program(project, "git", "config", "user.name", "a")
    program(project, "git", "add", "-A")
    program(project, "git", "commit", "-qm", "project")

    # Another machine: another home, no caches, and the original is gone.
    program(tmp_path, "git", "clone", "-q", str(project), "clone")
    clone, home = tmp_path / "clone", tmp_path / "other-home"
    home.mkdir()
    shutil.rmtree(project)
    environment["HOME"] = str(home)
    data = next(
        line.split()[-1] for line in (clone / "data/raw.dvc").read_text().splitlines() if "md5" in line
    )
    assert tokensieve("data", "restore", data, cwd=clone).returncode == 0
    assert (clone / "data/raw/train.csv").read_bytes() == data_file.read_bytes()
    again = tokensieve("run", "--json", cwd=clone)
    assert again.returncode == 0, again.stderr
    # The same artifacts are registered already.
    assert json.loads(again.stdout)["model_version"] == "1"

    # Who predicts needs the server alone, and no keys of S3.
    without_keys(environment)
    away = tmp_path / "away"
    away.mkdir()
    elsewhere = ("predict", "--model", "models:/tickets@champion", "--json", *TEXTS)
    assert tokensieve(*elsewhere, cwd=away).stdout == answers
    assert tokensieve("predict", "--json", *TEXTS, cwd=clone).stdout == answers
    port = free_port()
    command = [str(BIN / "tokensieve"), "serve", "--model", "models:/tickets@champion", "--port", str(port)]
    start("serve", *command, url=f"http://127.0.0.1:{port}/ready", cwd=away)
    for text, line in zip(TEXTS, answers.splitlines(), strict=True):
        served = _asked(f"http://127.0.0.1:{port}/predict", {"text": text})
        predicted = json.loads(line)
        assert served["label"] == predicted["label"]
        # One text at a time, and three in a batch.
        assert served["probability"] == pytest.approx(predicted["probability"], abs=1e-6)


FAULTS = {
    "wrong key": ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    "no key": (
        {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    "server down": (
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
        "start the server, or correct AWS_ENDPOINT_URL",
    ),
    "no bucket": ({}, "check the bucket and the path"),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_storage_is_one_line_with_its_remedy(
    fault: str, s3: Any, tokensieve: Run, environment: dict[str, str], data_file: Path, tmp_path: Path
) -> None:
    variables, remedy = FAULTS[fault]
    s3.client.upload_file(str(data_file), "data", "texts.csv")
    project = tmp_path / "tickets"
    assert tokensieve("init", str(project), "--data", str(data_file)).returncode == 0
    bucket = "absent" if fault == "no bucket" else "dvc"
    remote = ["dvc", "remote", "add", "-q", "--default", "storage", f"s3://{bucket}/store"]
    subprocess.run(remote, cwd=project, env=environment, check=True, capture_output=True)
    data = "s3://absent/texts.csv" if fault == "no bucket" else "s3://data/texts.csv"

    refused = tokensieve("data", "add", "--data", data, cwd=project, **variables)
    assert refused.returncode == 2, refused.stderr
    line = refused.stderr.strip().splitlines()[-1]
    assert line.startswith(f"tokensieve: --data {data} could not be fetched: ")
    assert remedy in line

    # The remote is down: the data are added, with a warning.
    pushed = tokensieve("data", "add", "--data", str(data_file), cwd=project, **variables)
    assert pushed.returncode == 0, pushed.stderr
    assert "was not pushed to the DVC remote 'storage'" in pushed.stderr
    assert remedy in pushed.stderr

    version = pushed.stdout.strip()
    shutil.rmtree(project / ".dvc" / "cache")
    shutil.rmtree(project / "data" / "raw")
    restored = tokensieve("data", "restore", version, cwd=project, **variables)
    assert restored.returncode == 2, restored.stderr
    line = restored.stderr.strip().splitlines()[-1]
    assert "the DVC remote 'storage'" in line
    assert remedy in line
    assert "Traceback" not in refused.stderr + pushed.stderr + restored.stderr


@pytest.mark.timeout(900)
def test_a_server_that_does_not_reach_its_artifacts_is_named(
    s3: Any,
    start_mlflow_on_s3: Callable[..., Process],
    tokensieve: Run,
    environment: dict[str, str],
    small: list[str],
    data_file: Path,
    tmp_path: Path,
) -> None:
    server = start_mlflow_on_s3()
    environment["MLFLOW_TRACKING_URI"] = server.url.removesuffix("/health")
    port, project = int(server.url.split(":")[2].split("/")[0]), tmp_path / "tickets"
    ran = tokensieve("run", "--project", str(project), "--data", str(data_file), *small)
    assert ran.returncode == 0, ran.stderr
    assert tokensieve("promote", "--project", str(project)).returncode == 0
    away = tmp_path / "away"
    away.mkdir()
    for number, (destination, variables) in enumerate(
        [
            ("s3://models/files", {"AWS_SECRET_ACCESS_KEY": "wrong"}),
            ("s3://models/files", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}),
            ("s3://absent/files", {}),
        ]
    ):
        server.stop()
        server = start_mlflow_on_s3(destination=destination, port=port, **variables)
        change = ("--set", f"finetune.max_epochs={3 + number}")
        refused = tokensieve("run", "--project", str(project), *change)
        assert refused.returncode == 2, refused.stderr
        # The command to type after the correction follows.
        (line,) = (line for line in refused.stderr.splitlines() if line.startswith("tokensieve: "))
        assert line.startswith("tokensieve: MLflow at http://127.0.0.1"), line
        assert "check its --artifacts-destination and credentials" in line
        assert "Traceback" not in refused.stderr
    server.stop()
    start_mlflow_on_s3(port=port)
    again = tokensieve("run", "--json", "--project", str(project), *change)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["model_version"] == "2"


def _has(path: Path, keys: dict[str, str]) -> bool:
    content = path.read_bytes()
    return any(keys[name].encode() in content for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))


def _asked(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return dict(json.load(response))
