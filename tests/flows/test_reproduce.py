"""A registered version is trained again from what the registry and DVC have of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.promotion import reproduce as reproductions
from tokensieve.cli.main import main
from tokensieve.project import Layout
from tokensieve.settings import Settings


@pytest.mark.system
def test_a_version_is_reproduced_bit_for_bit_and_a_changed_one_is_compared(
    tmp_path: Path,
    data_file: Path,
    tiny_run: Callable[..., int],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = tmp_path / "tickets"
    assert tiny_run(project, "--data", str(data_file)) == 0
    # Later data and settings: the reproduction does not use them.
    data_file.write_text(
        "".join(data_file.read_text(encoding="utf-8").splitlines(True)[:-6]), encoding="utf-8"
    )
    arguments = ["--set", "finetune.learning_rate=0.002"]
    assert main(["data", "add", "--project", str(project), "--data", str(data_file), *arguments]) == 0
    capfd.readouterr()

    again = ["reproduce", "1", "--project", str(project), "--json", "--into"]
    assert main([*again, str(tmp_path / "again")]) == 0, capfd.readouterr().err
    found = json.loads(capfd.readouterr().out)
    assert found["identical"] and found["packages"] == []
    names = {file["name"] for file in found["files"]}
    assert names >= {"mask/mask.safetensors", "model.onnx", "tokenizer.json"}
    assert main([*again, str(tmp_path / "again")]) == 2
    assert "is not empty; name a new folder with --into DIR" in capfd.readouterr().err

    # Other settings: the weights differ, and the answers are compared.
    settings_of = reproductions._settings_of

    def other_settings(*arguments: Any) -> Settings:
        found = settings_of(*arguments)
        return replace(found, finetune=replace(found.finetune, learning_rate=0.01))

    monkeypatch.setattr(reproductions, "_settings_of", other_settings)
    assert main([*again[:4], "--into", str(tmp_path / "other")]) == 1
    text = capfd.readouterr().out
    assert "differs" in text
    assert re.search(r"Both give the same labels to \d+\.\d\d% of \d+ test texts", text), text

    lineage = ["lineage", "1", "--project", str(project), "--json"]
    assert main(lineage) == 0
    known = json.loads(capfd.readouterr().out)
    assert known["data_rows"]["train"] > 0 and known["data_source"].endswith("texts.csv")
    assert known["settings"]["finetune.max_epochs"] == "2"
    assert {"torch", "processor", "python"} <= known["packages"].keys()
    assert len(known["lock_hash"]) == 64


def test_the_settings_are_those_of_the_run_and_not_of_the_registration_before(tmp_path: Path) -> None:
    # The last stage keeps the dvc.lock, so it has the entry of that stage's run before.
    stages = {
        stage: {"params": {"params.yaml": {"finetune": {"max_epochs": epochs}}}}
        for stage, epochs in (("finetune", 8), ("register", 4))
    }
    manifest: Any = SimpleNamespace(variant="fused")
    found = reproductions._settings_of(Layout(tmp_path), stages, manifest)
    assert found.finetune.max_epochs == 8
    assert found.export.variants == ("fused",)
