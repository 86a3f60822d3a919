"""The retraining flow as a whole: Prefect, DVC, Great Expectations, torch, MLflow and ONNX Runtime,
on tiny data.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.projects.last_run import last_run
from tasks.stage import STAGES as NAMES
from tokensieve.files import sha256
from tokensieve.project import Layout

# Some tests run the flow several times, which takes minutes on a busy machine.
pytestmark = pytest.mark.timeout(1200)

STAGES = list(NAMES)
SUMMARY = {
    "test_accuracy",
    "test_macro_f1",
    "test_ece",
    "trained_parameters",
    "total_parameters",
    "seconds",
    "skipped",
    "data_hash",
    "model_version",
    "model_dir",
    "parity",
    "variant",
    "race",
}


@pytest.fixture
def outcome(tiny_run: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> Callable[..., dict]:  # type: ignore[type-arg]
    """Runs the flow, which must succeed, and returns the summary that `--json` prints."""

    def run(project: Path, *arguments: str) -> dict:  # type: ignore[type-arg]
        capfd.readouterr()
        status = tiny_run(project, "--json", *arguments)
        output, errors = capfd.readouterr()
        assert status == 0, errors
        return json.loads(output)

    return run


def test_a_run_makes_everything_and_the_next_one_does_nothing(
    outcome: Callable[..., dict],  # type: ignore[type-arg]
    data_file: Path,
    tiny_texts: tuple[list[str], list[str]],
    tmp_path: Path,
) -> None:
    project = tmp_path / "project"

    first = outcome(project, "--data", str(data_file))

    assert first.keys() >= SUMMARY
    assert list(first["seconds"]) == ["ingest", "registry", *STAGES, "gate", "report"]
    assert first["gate"]["not_compared"] == "model 'project' has no champion yet"
    assert first["skipped"] == []
    assert first["parity"]["agreement"] == 1.0
    assert first["model_version"] == "1"
    assert 0 < first["trained_parameters"] < first["total_parameters"]
    assert first["data_hash"] in Layout(project).raw_pointer.read_text()
    served = Path(first["model_dir"])
    assert {path.name for path in served.iterdir()} == {
        "model.onnx",
        "tokenizer.json",
        "manifest.json",
        "race.json",
        "trained_texts.npy",
        "phrases.json",
        "README.md",
    }
    assert first["verdict"]["sentence"]
    noted = last_run(Layout(project))
    assert noted and noted.result.startswith("Version 1 of project: ")
    assert (noted.reason, noted.step) == ("", "")
    page = Path(first["report"]).read_text(encoding="utf-8")
    texts = [text for text in tiny_texts[0] if f">{text}<" in page]
    assert texts or first["test_accuracy"] == 1.0
    (logged,) = Layout(project).runs.rglob("report.html")
    assert not any(f">{text}<" in logged.read_text(encoding="utf-8") for text in tiny_texts[0])

    second = outcome(project, "--data", str(data_file))

    assert list(second["seconds"]) == ["ingest", "registry"]
    assert second["skipped"] == STAGES
    assert {key: second[key] for key in SUMMARY - {"seconds", "skipped"}} == {
        key: first[key] for key in SUMMARY - {"seconds", "skipped"}
    }


def test_a_changed_setting_runs_what_depends_on_it_alone(
    outcome: Callable[..., dict], data_file: Path, tmp_path: Path
) -> None:  # type: ignore[type-arg]
    project = tmp_path / "project"
    outcome(project, "--data", str(data_file))

    changed = outcome(project, "--set", "finetune.learning_rate=0.002")

    assert list(changed["seconds"]) == [
        "ingest",
        "registry",
        "finetune",
        "evaluate",
        "export",
        "register",
        "gate",
        "report",
    ]
    assert changed["model_version"] == "2"


@pytest.mark.system
def test_dvc_repro_sees_what_the_flow_did_and_the_other_way_round(
    outcome: Callable[..., dict],  # type: ignore[type-arg]
    data_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = tmp_path / "project"
    outcome(project, "--data", str(data_file))
    beside_python = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", beside_python, prepend=":")

    repro = [sys.executable, "-m", "dvc", "repro", "export"]
    unchanged = subprocess.run(repro, cwd=project, capture_output=True, text=True, check=True).stdout
    assert "Running stage" not in unchanged

    Layout(project).params.write_text(
        Layout(project).params.read_text().replace("  learning_rate: 0.001", "  learning_rate: 0.002")
    )
    changed = subprocess.run(repro, cwd=project, capture_output=True, text=True, check=True).stdout
    assert [name for name in STAGES if f"Running stage '{name}'" in changed] == [
        "finetune",
        "evaluate",
        "export",
    ]

    assert list(outcome(project)["seconds"]) == ["ingest", "registry", "register", "gate", "report"]


@pytest.mark.system
@pytest.mark.parametrize("stage", ["split", "finetune", "register"])
def test_a_run_that_was_interrupted_is_finished_with_the_same_result(
    stage: str,
    outcome: Callable[..., dict],  # type: ignore[type-arg]
    tiny_run: Callable[..., int],
    data_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tasks.versioning import dvc_pipeline
    from tasks.versioning.dvc_repo import Repo

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    expected = outcome(whole, "--data", str(data_file))

    def interrupted(layout: Layout, repo: Repo, name: str) -> None:
        if name == stage:
            raise KeyboardInterrupt
        record(layout, repo, name)

    record = dvc_pipeline.record
    monkeypatch.setattr(dvc_pipeline, "record", interrupted)
    assert tiny_run(broken, "--data", str(data_file)) == 130
    monkeypatch.undo()
    finished = outcome(broken)

    assert finished["test_accuracy"] == expected["test_accuracy"]
    assert finished["model_version"] == "1"
    for name in (
        "artifacts/mask/mask.safetensors",
        "artifacts/model/model.safetensors",
        "artifacts/onnx/manifest.json",
    ):
        assert sha256(broken / name) == sha256(whole / name), name


@pytest.mark.system
def test_an_earlier_version_of_the_data_comes_back_by_its_hash(
    outcome: Callable[..., dict],  # type: ignore[type-arg]
    data_file: Path,
    tmp_path: Path,
) -> None:
    from tasks.versioning.data_versions import data_hash, restore_version

    project, layout = tmp_path / "project", Layout(tmp_path / "project")
    first = outcome(project, "--data", str(data_file))
    before = sha256(layout.raw / "train.csv")
    lines = data_file.read_text().splitlines()
    data_file.write_text("\n".join(lines[:-3]) + "\n")
    second = outcome(project, "--data", str(data_file))
    assert second["data_hash"] != first["data_hash"]

    # Even with the cache gone, the remote has it.
    shutil.rmtree(layout.root / ".dvc" / "cache")
    restore_version(layout, first["data_hash"][:8])

    assert sha256(layout.raw / "train.csv") == before
    assert data_hash(layout) == first["data_hash"]
    assert outcome(project)["data_hash"] == first["data_hash"]


def test_data_that_fails_validation_stops_before_training_and_loses_nothing(
    outcome: Callable[..., dict],  # type: ignore[type-arg]
    tiny_run: Callable[..., int],
    data_file: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    project, layout = tmp_path / "project", Layout(tmp_path / "project")
    good = outcome(project, "--data", str(data_file))
    model = sha256(layout.onnx / "model.onnx")
    lines = data_file.read_text().splitlines()
    data_file.write_text("\n".join([*lines, "a lonely text,lonely"]) + "\n")

    assert tiny_run(project, "--data", str(data_file)) == 2

    errors = capfd.readouterr().err
    assert "lonely" in errors
    assert "data.rare=drop" in errors
    assert "Traceback" not in errors
    assert sha256(layout.onnx / "model.onnx") == model
    assert (
        json.loads((layout.registration / "registration.json").read_text())["version"]
        == good["model_version"]
    )


def test_a_plain_call_of_the_flow_logs_to_its_page_without_a_text(
    prefect_server: None, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.logging.handlers import APILogWorker

    from flows.retrain import retrain
    from tokensieve.errors import InputError

    # As in a program that has set up no logging.
    monkeypatch.setattr(logging.getLogger("tokensieve"), "handlers", [])
    data_file.write_text(data_file.read_text() + "a text of its own kind,lonely\n")

    with pytest.raises(InputError, match="lonely"):
        retrain(project=tmp_path / "project", data=str(data_file))

    noted = last_run(Layout(tmp_path / "project"))
    assert noted and noted.ended >= noted.began
    assert noted.step == "validate" and "'lonely'" in noted.reason and "data.rare=drop" in noted.reason
    APILogWorker.drain_all()
    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)
        lines = [
            line.message
            for line in client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])))
        ]
    assert "validate   ..." in lines
    assert any("'lonely'" in line and "data.rare=drop" in line for line in lines)
    assert not any("Traceback" in line or "a text of its own kind" in line for line in lines)


@pytest.mark.system
def test_the_champion_is_compared_with_and_can_be_served(
    outcome: Callable[..., dict],  # type: ignore[type-arg]
    data_file: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from tokensieve.cli.main import main

    project = tmp_path / "project"
    outcome(project, "--data", str(data_file))
    assert main(["promote", "--project", str(project)]) == 0
    lines = [line for line in data_file.read_text().splitlines() if not line.endswith(",track")]
    data_file.write_text("\n".join(lines) + "\n")

    second = outcome(project, "--data", str(data_file))

    assert any("track" in warning for warning in second["warnings"])
    assert (
        main(
            [
                "predict",
                "--project",
                str(project),
                "--model",
                "models:/project@champion",
                "--json",
                "where is my parcel",
            ]
        )
        == 0
    )
    answer = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert answer["text"] == "where is my parcel"
    assert len(answer["top"]) == 3


def test_texts_of_several_labels_or_none_go_the_whole_way(
    outcome: Callable[..., dict],  # type: ignore[type-arg]
    several_file: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from tokensieve.cli.main import main
    from tokensieve.inference.mlflow_model import _load_pyfunc
    from tokensieve.inference.predictor import Predictor

    project, layout = tmp_path / "project", Layout(tmp_path / "project")
    result = outcome(project, "--data", str(several_file), "--set", "data.label_separator=;")

    labels = ["address", "card_lost", "please", "question", "refund", "topup", "track"]
    assert result.keys() >= (SUMMARY - {"test_accuracy"}) | {"test_exact_match", "test_micro_f1"}
    assert result["parity"]["agreement"] == 1.0
    assert json.loads((layout.split / "labels.json").read_text()) == labels
    assert '["card_lost", "please"]' in "".join(path.read_text() for path in layout.split.glob("*.jsonl"))
    report = json.loads((layout.evaluation / "report.json").read_text())
    manifest = json.loads((layout.onnx / "manifest.json").read_text())
    assert manifest["thresholds"] == [report["per_class"][label]["threshold"] for label in labels]
    assert {path.name for path in layout.evaluation.iterdir()} == {
        "decision_rule.json",
        "report.json",
        "logits.safetensors",
        "predictions.csv",
        "labels.png",
        "calibration.png",
    }

    # It answers as it was measured: the share of test texts with just the right labels is found
    # again.
    rows = [json.loads(line) for line in (layout.split / "test.jsonl").read_text().splitlines()]
    answers = Predictor.load(layout.onnx, threads=1).predict([row["text"] for row in rows])
    right = [
        ";".join(sorted(label for label, _ in answer.labels)) == row["label"]
        for answer, row in zip(answers, rows, strict=True)
    ]
    assert sum(right) / len(right) == pytest.approx(result["test_exact_match"])
    capfd.readouterr()
    assert main(["predict", "--model", str(layout.onnx), "--json", rows[0]["text"]]) == 0
    shown = json.loads(capfd.readouterr().out)
    assert [label for label, _ in shown["labels"]] == [label for label, _ in answers[0].labels]
    # Sums may have another order for a single text than for a batch.
    assert [chance for _, chance in shown["labels"]] == pytest.approx(
        [chance for _, chance in answers[0].labels], rel=1e-4
    )
    assert shown["uncertain"] == answers[0].uncertain
    assert main(["predict", "--model", str(layout.onnx), *(row["text"] for row in rows)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.startswith("no label") for line in lines] == [not answer.labels for answer in answers]
    (row,) = _load_pyfunc(str(layout.onnx)).predict({"text": [rows[0]["text"]]})
    assert dict(zip(row["labels"], row["probabilities"], strict=True)) == pytest.approx(
        dict(answers[0].labels)
    )
    assert (row["uncertain"], row["truncated"]) == (answers[0].uncertain, answers[0].truncated)


@pytest.mark.system
def test_a_retrain_promotes_what_the_gate_passes_and_ends_as_refused_otherwise(
    outcome: Callable[..., dict],  # type: ignore[type-arg]
    data_file: Path,
    tmp_path: Path,
    prefect_server: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows.retrain import retrain

    project = tmp_path / "project"
    outcome(project, "--data", str(data_file))

    results: list[str] = []
    monkeypatch.setattr("flows.retrain.note_result", lambda _, result: results.append(result))
    first = retrain(project, promote=True)
    assert first["promoted"]["version"] == "1"
    assert results == ["Nothing new: version 1 of project is current."]

    # No challenger gains all texts.
    changes = ["finetune.learning_rate=0.002", "gate.min_gain=1.0"]
    state = retrain(project, changes=changes, promote=True, return_state=True)
    assert (state.name, state.is_completed()) == ("Refused", True)
    assert results[1:] == [state.message]  # the verdict of the run alone would advise a promotion
    assert state.message is not None and "gain" in state.message
    result = state.result()
    assert result["model_version"] == "2" and "promoted" not in result
    assert result["gate"]["outcome"] == "refused"
    kept = json.loads(Layout(project).gate.read_text())
    assert "gain" in {row["rule"] for row in kept["rows"] if row["refuses"]}
    assert outcome(project, "--set", "gate.min_gain=0")["gate"]["champion"] == "1"
