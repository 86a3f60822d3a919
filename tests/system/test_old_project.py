"""A project that commit 9f0881d made is run and served with the code of today."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.numpy import load_file

from tests.system.conftest import BIN, Start, free_port


@pytest.mark.timeout(600)
def test_old_project_runs_on(tokensieve: Callable[..., Any], moved_old_project: Path) -> None:
    """A run with unchanged data, and a run of every stage, give the same weights; the champion
    stays.
    """
    files = [
        moved_old_project / "artifacts" / name
        for name in ("mask/mask.safetensors", "model/model.safetensors")
    ]
    before = [load_file(path) for path in files]

    for arguments in ((), ("--force",)):
        done = tokensieve("run", "--project", str(moved_old_project), *arguments)

        assert done.returncode == 0, done.stderr
        for path, tensors in zip(files, before, strict=True):
            after = load_file(path)
            assert after.keys() == tensors.keys()
            # Another processor may round differently; other settings would change the weights much
            # more.
            assert all(after[key] == pytest.approx(tensors[key], abs=1e-3) for key in tensors)

    answers = tokensieve(
        "predict",
        "--project",
        str(moved_old_project),
        "--model",
        "models:/shop@champion",
        "--json",
        "topup failed",
    )
    assert json.loads(answers.stdout)["probability"] == pytest.approx(0.329018, abs=1e-4)


def test_old_settings_are_changed_under_their_old_names(
    tokensieve: Callable[..., Any], old_project: Path
) -> None:
    """Settings of earlier scripts: the stages see the new values."""
    done = tokensieve(
        "run",
        "--project",
        str(old_project),
        "--set",
        "mask.frozen=0.25",
        "finetune.epochs=1",
        "export.variants=[fp32]",
    )

    assert done.returncode == 0, done.stderr
    written = yaml.safe_load((old_project / "params.yaml").read_text(encoding="utf-8"))
    values = [value for section in written.values() for value in section.values()]
    assert 0.25 in values
    assert ["fp32"] in values
    assert (
        len((old_project / "artifacts" / "model" / "history.jsonl").read_text(encoding="utf-8").splitlines())
        == 1
    )


def test_a_change_of_only_a_new_setting_validates_again(
    tokensieve: Callable[..., Any], old_project: Path
) -> None:
    """dvc.yaml gets the parameters that its stages lack, once params.yaml has them.

    If the setting is then taken out, it is the default again, and the stage runs again.
    """
    command = ("stage", "validate", "--project", str(old_project))
    assert tokensieve(*command).returncode == 0
    for arguments, runs in (((), False), (("--set", "data.clean=html"), True), ((), False)):
        done = tokensieve(*command, *arguments)
        assert done.returncode == 0, done.stderr
        assert ("validate   unchanged" in done.stderr) is not runs, done.stderr
    params = old_project / "params.yaml"
    lines = params.read_text(encoding="utf-8").splitlines(keepends=True)
    params.write_text("".join(line for line in lines if not line.startswith("  clean:")), encoding="utf-8")
    for runs in (True, False):
        done = tokensieve(*command)
        assert ("validate   unchanged" in done.stderr) is not runs, done.stderr
    assert yaml.safe_load(params.read_text(encoding="utf-8"))["data"]["clean"] == "none"
    stage = yaml.safe_load((old_project / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["validate"]
    assert "data.clean" in stage["params"]


def test_model_of_an_old_registry_is_served(
    start: Start, environment: dict[str, str], old_project: Path
) -> None:
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{old_project / 'mlflow.db'}"
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [str(BIN / "tokensieve"), "serve", "--model", "models:/shop@champion", "--port", str(port)]
    start("serve", *command, url=f"{url}/health", cwd=old_project)

    body = json.dumps({"text": "topup failed"}).encode()
    request = urllib.request.Request(f"{url}/predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)

    assert answer["label"] == "topup"
    assert answer["probability"] == pytest.approx(0.329018, abs=1e-4)
    assert answer["uncertain"] is True
