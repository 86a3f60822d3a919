from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tokensieve.cli.main import main


def test_a_model_folder_that_is_none_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--model", str(tmp_path), "text"]) == 2
    assert "manifest.json" in capfd.readouterr().err
    assert main(["predict", "--model", str(tmp_path / "none"), "text"]) == 2
    assert "does not exist" in capfd.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["predict", "text"],
        ["explain", "text"],
        ["evaluate", "--data", "test.csv"],
        ["check", "--cases", "cases.yaml"],
        ["serve"],
        ["export-triton", "--output", "repository"],
    ],
    ids=lambda command: command[0],
)
def test_for_a_project_as_model_the_error_names_its_export(
    command: list[str],
    served_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cases.yaml").write_text("minimum_functionality: [{text: a, label: b}]", encoding="utf-8")
    Path("mails").mkdir()
    Path("mails/params.yaml").touch()
    arguments = [*command, "--model", "mails"]
    assert main(arguments) == 2
    assert "mails is a project without an exported model; create one with tokensieve run --project mails" in (
        capfd.readouterr().err
    )
    shutil.copytree(served_folder, "mails/artifacts/onnx")
    assert main(arguments) == 2
    assert "mails is a project, not an exported model; use mails/artifacts/onnx" in capfd.readouterr().err


def test_a_model_of_a_registry_needs_a_project_or_the_registrys_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", "--model", "models:/classifier@champion", "--project", str(tmp_path), "text"]
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(command) == 2
    assert "is not a project" in capfd.readouterr().err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///absent.db")
    assert main(command) == 2
    assert (
        f"sqlite:///{tmp_path}/absent.db does not exist; run tokensieve run first" in capfd.readouterr().err
    )
    assert list(tmp_path.iterdir()) == []
