from __future__ import annotations

from pathlib import Path

import pytest

from tokensieve.cli.main import main


def test_a_model_folder_that_is_none_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--model", str(tmp_path), "text"]) == 2
    assert "manifest.json" in capfd.readouterr().err
    assert main(["predict", "--model", str(tmp_path / "none"), "text"]) == 2
    assert "does not exist" in capfd.readouterr().err


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
