"""The commands that show models, the record and the state of a project, from the command line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.projects.last_look import note_look
from tasks.projects.last_run import note_begin, note_failure, note_result
from tokensieve.cli.main import main
from tokensieve.files import locked, note_step
from tokensieve.project import Layout


@pytest.fixture
def project(tmp_path: Path, served_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in a folder named tickets with two registered versions."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "tickets"
    assert main(["init", str(folder)]) == 0
    shutil.copytree(served_folder, folder / "model" / "data" / "onnx")
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db", f"sqlite:///{folder}/mlflow.db")
    client.create_registered_model("tickets")
    for accuracy in (0.75, 0.875):
        run = client.create_run("0")
        client.log_metric(run.info.run_id, "test_accuracy", accuracy)
        client.create_model_version(
            "tickets", (folder / "model").as_uri(), run.info.run_id, {"data_hash": "abc"}
        )
    client.set_registered_model_alias("tickets", "challenger", "2")
    return folder


def test_history_status_and_models(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    where = ["--project", str(project)]
    assert main(["history", *where]) == 0
    assert "No version of 'tickets' was promoted yet." in capfd.readouterr().out
    assert main(["promote", *where, "--version", "1", "--reason", "the first [bold]one"]) == 0
    capfd.readouterr()

    assert main(["history", *where]) == 0
    text = capfd.readouterr().out
    assert "none → 1" in text and "the first [bold]one" in text
    assert "The record is intact: 1 entry" in text
    assert main(["history", *where, "--json"]) == 0
    tree = json.loads(capfd.readouterr().out)
    assert (tree["model"], tree["intact"], tree["fault"]) == ("tickets", True, None)
    (entry,) = tree["entries"]
    assert (entry["number"], entry["from"], entry["to"], entry["outcome"]) == (1, None, "1", "done")
    assert (entry["data_hash"], entry["previous"]) == ("abc", "0" * 64)

    assert main(["models", *where, "--json"]) == 0
    versions = json.loads(capfd.readouterr().out)["tickets"]
    assert [(version["version"], version["aliases"]) for version in versions] == [
        ("2", ["challenger"]),
        ("1", ["champion"]),
    ]
    assert versions[1]["figures"] == {"test_accuracy": 0.75}
    assert main(["models", *where]) == 0
    assert "test accuracy 0.8750" in capfd.readouterr().out

    assert main(["status", *where]) == 0
    text = capfd.readouterr().out
    assert "version 1  test accuracy 0.7500" in text
    assert f"next: add data and train: tokensieve run --project {project} --data PATH" in text


def test_a_broken_record_has_exit_status_1(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    where = ["--project", str(project)]
    assert main(["promote", *where, "--version", "1"]) == 0
    client = MlflowClient(f"sqlite:///{project}/mlflow.db", f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("tokensieve record of tickets")
    assert experiment
    (run,) = [run for run in client.search_runs([experiment.experiment_id]) if "next" not in run.data.params]
    client.set_tag(run.info.run_id, "tokensieve.entry.00", "{}")
    capfd.readouterr()
    assert main(["history", *where]) == 1
    assert "BROKEN: entry 1 was changed after it was written" in capfd.readouterr().out


def test_the_status_of_a_new_project_says_how_to_begin(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["init", str(tmp_path / "new")]) == 0
    capfd.readouterr()
    assert main(["status", "--project", str(tmp_path / "new"), "--json"]) == 0
    tree = json.loads(capfd.readouterr().out)
    assert (tree["data"], tree["registered"], tree["versions"], tree["fault"]) == (None, "", {}, "")
    assert tree["advice"][0].startswith("add data and train: tokensieve run")


def test_the_status_has_the_run_that_is_under_way(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    layout = Layout(project)
    with locked(layout.busy):
        note_step(layout.busy, "evaluate")
        assert main(["status", "--project", str(project)]) == 0
    out = capfd.readouterr().out
    assert re.search(r"running .*since \d{4}-\d\d-\d\d \d\d:\d\d \(UTC\), now evaluate", out)
    assert "next:" not in out


def test_the_status_has_how_the_last_run_went(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    layout, time = Layout(project), r"\d{4}-\d\d-\d\d \d\d:\d\d \(UTC\)"

    def row() -> str:
        assert main(["status", "--project", str(project)]) == 0
        # A long reason takes several lines.
        (found,) = re.findall(r"│ last run  [^│]*│[^│]*│(?:\n│ +│[^│]*│)*", capfd.readouterr().out)
        return " ".join(found.replace("│", "").split())

    note_begin(layout)
    assert re.fullmatch(rf"last run began {time} and was killed or interrupted", row())
    note_failure(layout, "base.model 'x' was not found; name a folder", "ingest")
    failed = rf"last run failed {time} in ingest: base\.model 'x' was not found; name a folder"
    assert re.fullmatch(failed, row())
    note_begin(layout)
    with locked(layout.busy):
        assert main(["status", "--project", str(project)]) == 0
    assert "last run  " not in capfd.readouterr().out
    note_result(layout, "Version 2 of tickets: good enough")
    assert re.fullmatch(rf"last run ended {time}: Version 2 of tickets: good enough", row())

    layout.last_run.write_text("[]")
    assert main(["status", "--project", str(project), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["last_run"] is None


def test_the_status_has_how_the_last_looks_went(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    layout = Layout(project)
    assert main(["status", "--project", str(project)]) == 0
    out = capfd.readouterr().out
    assert "last watch" not in out
    assert "last monitor" not in out
    note_look(layout, "watch", "mails.csv is unchanged.")
    note_look(layout, "monitor", reason="no log")
    assert main(["status", "--project", str(project)]) == 0
    out = capfd.readouterr().out
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d \(UTC\)"
    assert re.search(rf"│ last watch  [^│]*│ {time}: mails\.csv is unchanged\.", out)
    assert re.search(rf"│ last monitor  [^│]*│ failed {time}: no log", out)
    assert main(["status", "--project", str(project), "--json"]) == 0
    looks = json.loads(capfd.readouterr().out)["last_looks"]
    assert (looks["watch"]["result"], looks["monitor"]["reason"]) == ("mails.csv is unchanged.", "no log")
