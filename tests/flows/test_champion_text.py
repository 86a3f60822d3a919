from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows.champion_text import promoted_text, rolled_back_text
from tokensieve.cli.main import main
from tokensieve.settings import render

MOVED = {
    "name": "tickets",
    "version": "2",
    "replaced": "1",
    "figures": {"test_accuracy": 0.875, "test_macro_f1": 0.5, "other": 1.0},
    "replaced_figures": {"test_accuracy": 0.75},
    "same_data": True,
    "skipped": [],
    "skipped_why": {},
}


def test_a_promotion_is_told_with_both_figures_and_the_way_back() -> None:
    assert promoted_text(MOVED, "my tickets") == (
        "Version 2 of 'tickets' is now the champion (test accuracy 0.8750, macro F1 0.5000). "
        "Before: version 1 (test accuracy 0.7500).\nTo undo: tokensieve rollback --project 'my tickets'"
    )
    other = MOVED | {"same_data": False}
    assert "different test texts.\n" in promoted_text(other, ".")
    measured = "On the same texts, the gate measured: accuracy 0.9 to 0.8."
    assert measured in promoted_text(other | {"gate_accuracy": "accuracy 0.9 to 0.8"}, ".")
    warned = promoted_text(MOVED, ".", "not good enough: do not promote it yet")
    assert "\nwarning: the verdict on this version was: not good enough: do not" in warned
    first = promoted_text(MOVED | {"replaced": None, "replaced_figures": {}, "same_data": None}, ".")
    assert first.endswith("There was no champion before.")
    assert "is already the champion" in promoted_text(MOVED | {"replaced": "2"}, ".")


def test_a_rollback_is_told_with_what_it_passed_over() -> None:
    text = rolled_back_text(
        MOVED | {"version": "1", "replaced": "3", "skipped": ["2"], "skipped_why": {"2": "deleted"}}, "."
    )
    assert text.startswith("Version 1 of 'tickets' is the champion again")
    assert "Skipped: 2 (deleted)." in text
    assert text.endswith('To undo, with a reason: tokensieve promote --version 3 --reason "..."')
    assert rolled_back_text(MOVED | {"replaced": None}, ".").endswith("macro F1 0.5000).")


@pytest.fixture
def project(tmp_path: Path, served_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in a folder named tickets with two registered versions."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(served_folder, tmp_path / "tickets" / "model" / "data" / "onnx")
    (tmp_path / "tickets" / "params.yaml").write_text(render(), encoding="utf-8")
    uri = f"sqlite:///{tmp_path}/tickets/mlflow.db"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.create_registered_model("tickets")
    for _ in range(2):
        client.create_model_version("tickets", (tmp_path / "tickets" / "model").as_uri())
    client.set_registered_model_alias("tickets", "challenger", "2")
    return tmp_path / "tickets"


def test_the_commands_print_a_sentence_or_json(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["promote", "--project", str(project), "--version", "1"]) == 0
    assert (
        capfd.readouterr().out
        == "Version 1 of 'tickets' is now the champion. There was no champion before.\n"
    )
    assert main(["promote", "--project", str(project), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["replaced"] == "1"
    assert main(["rollback", "--project", str(project)]) == 0
    assert "Version 1 of 'tickets' is the champion again." in capfd.readouterr().out
    assert main(["promote", "--project", str(project)]) == 1
    assert "was rolled back" in capfd.readouterr().err
    assert (
        main(
            ["promote", "--project", str(project), "--version", "2", "--reason", "it was the data", "--json"]
        )
        == 0
    )
    shutil.rmtree(project / "model")
    assert main(["rollback", "--project", str(project)]) == 2


@pytest.mark.parametrize("version", ["01", "\u0661", ""])
def test_a_version_that_is_not_written_as_a_number_is_refused(
    project: Path, capfd: pytest.CaptureFixture[str], version: str
) -> None:
    assert main(["promote", "--project", str(project), "--version", version]) == 2
    error = capfd.readouterr().err
    assert (
        f"version is '{version}'; allowed: digits 0 to 9, at most ten, the first not 0; "
        "versions of model 'tickets': 1, 2" in error
    )
    assert error.count("\n") == 1


def test_they_import_neither_prefect_nor_what_training_needs(project: Path) -> None:
    """A registry in an SQLite file needs MLflow; one at an http address does not."""
    program = (
        "import sys; from tokensieve.cli.main import main\n"
        f"status = main(['promote', '--project', {str(project)!r}]); print(*sys.modules, file=sys.stderr); "
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"prefect", "dvc", "torch", "transformers"} & set(done.stderr.split())
