from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow.models
import numpy as np
import onnx
import pandas
import pytest
import tokenizers
from mlflow import MlflowClient
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from tasks import register
from tasks.artifacts import Registration, SplitSizes
from tasks.promotion.checks import FINGERPRINT, PROJECT
from tasks.tracking import log_run, mlflow_client
from tasks.tracking.mlflow_editor import MlflowEditor
from tokensieve.errors import InputError
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.mlflow_model import _load_pyfunc
from tokensieve.inference.predictor import Predictor
from tokensieve.project import Layout
from tokensieve.registry.mlflow_process import MlflowProcess
from tokensieve.registry.project_identity import given_identity
from tokensieve.registry.store import tracking_uri
from tokensieve.settings import Settings, render

HASH = "0123456789abcdef0123456789abcdef.dir"
SETTINGS = Settings.of({"register": {"name": "classifier"}})


@pytest.fixture
def layout(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A project whose stages have run, and an empty registry."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(database, tmp_path / "mlflow.db")
    layout = Layout(tmp_path)
    layout.params.write_text(render(), encoding="utf-8")
    layout.lock.write_text(
        "stages:\n  register:\n    uri: postgresql://me:se/cret@host/mlflow\n", encoding="utf-8"
    )
    for folder in (
        layout.validation,
        layout.split,
        layout.vocabulary,
        layout.mask,
        layout.model,
        layout.evaluation,
        layout.onnx,
    ):
        folder.mkdir(parents=True)
    at_fault = {"row": 7, "text": "my private words", "label": "card"}
    write(
        layout.validation / "report.json", {"checks": [{"name": "duplicate", "count": 1, "rows": [at_fault]}]}
    )
    (layout.validation / "docs").mkdir()
    (layout.validation / "docs" / "index.html").write_text("<h1>Data Docs</h1>", encoding="utf-8")
    write(layout.split / "report.json", {"train": 8, "validation": 2, "test": 4, "dropped": {"duplicate": 1}})
    SplitSizes(8, 2, 4).save(layout.split)
    write(
        layout.vocabulary / "constructs.json",
        [{"text": "lost card", "label": "card", "information": 0.5, "weight": 0.5, "texts": 3}],
    )
    write(
        layout.vocabulary / "report.json",
        {"constructs": 1, "added": [], "tokens_before": 9, "tokens_after": 9, "per_class": {}},
    )
    save_file(
        {"encoder.layer.1.output.dense": np.arange(3, dtype=np.int32)}, layout.mask / "mask.safetensors"
    )
    (layout.mask / "mask.png").write_bytes(b"png")
    write(
        layout.mask / "report.json",
        {"shape": "rows", "cut": 1, "layers": [], "trained_parameters": 12, "total_parameters": 100},
    )
    epochs = [
        {"epoch": epoch, "train_loss": 1 / epoch, "validation_loss": 2 / epoch, "validation_accuracy": 0.5}
        for epoch in (1, 2)
    ]
    (layout.model / "history.jsonl").write_text(
        "".join(json.dumps(epoch) + "\n" for epoch in epochs), encoding="utf-8"
    )
    (layout.model / "history.png").write_bytes(b"png")
    write(layout.model / "report.json", {"epochs": 2, "best_epoch": 2})
    write(
        layout.evaluation / "report.json",
        {
            "test_accuracy": 0.75,
            "oos_recall": None,
            "per_class": {"card": {"f1": 1.0}},
            "baselines": {"majority": {"accuracy": 0.5, "macro_f1": 0.3, "only_model": 1}, "tfidf": None},
            "verdict": {"sentence": "good enough: promote it."},
        },
    )
    (layout.evaluation / "predictions.csv").write_text("text\nmy private words\n", encoding="utf-8")
    serve(layout)
    builds = [
        {"variant": "fp32", "milliseconds": 4.5, "faults": []},
        {"variant": "int8", "milliseconds": 1.5, "faults": ["agreement"]},
    ]
    write(layout.onnx / "race.json", {"processor": "Tiny 9000", "variants": builds})
    return layout


def write(path: Path, tree: Any) -> None:
    path.write_text(json.dumps(tree), encoding="utf-8")


def serve(layout: Layout, temperature: float = 1.0) -> None:
    """A served folder whose logits are the token ids' sum and its negative; another temperature
    makes another model.
    """
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "lost": 2}, unk_token="[UNK]"))
    tokenizer.save(str(layout.onnx / "tokenizer.json"))
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["numbers", "axis"], ["sum"]),
        helper.make_node("Neg", ["sum"], ["negative"]),
        helper.make_node("Concat", ["sum", "negative"], ["logits"], axis=1),
    ]
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph(
        nodes, "tiny", inputs, [output], [helper.make_tensor("axis", TensorProto.INT64, [1], [1])]
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        layout.onnx / "model.onnx",
    )
    parity = {"texts": 4, "largest_difference": 1e-6, "agreement": 1.0}
    Manifest(("card", "transfer"), temperature, 0.5, 16, HASH, "tiny", parity).save(layout.onnx)


def client(layout: Layout) -> MlflowClient:
    uri = tracking_uri(layout, SETTINGS)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def aliases(layout: Layout) -> dict[str, str]:
    return {
        alias: str(version)
        for alias, version in client(layout).get_registered_model("classifier").aliases.items()
    }


def runs(layout: Layout) -> list[Any]:
    experiment = client(layout).get_experiment_by_name("tokensieve")
    return list(client(layout).search_runs([experiment.experiment_id])) if experiment else []


def test_the_mlflow_run_has_the_results_of_all_stages(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    registration = register.register(layout, SETTINGS)
    assert registration == Registration.load(layout.registration)
    assert registration.uri == "models:/classifier/1"
    assert capsys.readouterr().out == ""

    (run,) = runs(layout)
    assert run.info.run_id == registration.run_id
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith(layout.runs.as_uri())
    assert run.data.params["mask.budget"] == "0.1"
    assert run.data.params["data.shots"] == "None"
    assert run.data.params["validate.errors"].startswith("columns, empty")
    found_metrics = run.data.metrics
    assert found_metrics["test/accuracy"] == 0.75
    assert found_metrics["mask/trained_parameters"] == 12
    assert [found_metrics[f"export/{name}/milliseconds"] for name in ("fp32", "int8")] == [4.5, 1.5]
    assert "test/oos_recall" not in found_metrics
    assert [found_metrics[f"baseline/majority_{key}"] for key in ("accuracy", "macro_f1")] == [0.5, 0.3]
    assert found_metrics["class/f1/card"] == 1.0
    losses = client(layout).get_metric_history(run.info.run_id, "training/train_loss")
    assert [(loss.step, loss.value) for loss in losses] == [(1, 1.0), (2, 0.5)]

    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("data/raw", HASH)
    rows = {"num_rows": 14, "train": 8, "validation": 2, "test": 4, "oos": 0}
    assert json.loads(dataset.dataset.profile) == rows

    root = Path(run.info.artifact_uri.removeprefix("file://"))
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert found >= {
        "dvc.lock",
        "validation/report.json",
        "validation/docs/index.html",
        "mask/mask.safetensors",
        "mask/mask.png",
        "vocabulary/constructs.json",
        "training/history.png",
        "evaluation/report.json",
        "evaluation/classes.json",
        "onnx/race.json",
        "model/MLmodel",
        "model/input_example.json",
        "model/data/onnx/model.onnx",
        "model/code/tokensieve.zip",
    }
    with zipfile.ZipFile(root / "model/code/tokensieve.zip") as code:
        packed = set(code.namelist())
    assert packed >= {"tokensieve/inference/predictor.py", "tokensieve/server/console/console.js"}
    assert not [name for name in found | packed if name.endswith((".pkl", ".pyc"))]
    table = json.loads((root / "vocabulary/constructs.json").read_text(encoding="utf-8"))
    assert table == {
        "columns": ["text", "label", "information", "texts"],
        "data": [["lost card", "card", 0.5, 3]],
    }

    version = client(layout).get_model_version("classifier", "1")
    assert version.tags["data_hash"] == HASH
    assert version.tags[PROJECT] == run.data.tags[PROJECT] == given_identity(layout, SETTINGS).project
    assert aliases(layout) == {"challenger": "1"}


def test_people_find_the_run_by_its_name_and_its_description(layout: Layout) -> None:
    source = "https://host/mails.csv"
    line = {"data_hash": HASH, "date": "2026-11-28T22:19:27+00:00", "source": source, "rows": {"train": 10}}
    layout.versions.parent.mkdir(exist_ok=True)
    layout.versions.write_text(json.dumps(line) + "\n", encoding="utf-8")
    register.register(layout, SETTINGS)
    (run,) = runs(layout)
    assert run.info.run_name == "v1 mails.csv 0.750"
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith("**Good enough: promote it.**\n\nPromote it: `tokensieve promote --version 1`")
    assert "`evaluation/classes.json`" in note
    assert client(layout).get_model_version("classifier", "1").description == note
    (data,) = (known.dataset for known in run.inputs.dataset_inputs)
    assert (data.name, data.source_type, json.loads(data.source)) == ("mails.csv", "http", {"url": source})
    names = [column["name"] for column in json.loads(data.schema)["mlflow_colspec"]]
    assert names == ["text", "label"]
    # What a person has written stays.
    client(layout).set_tag(run.info.run_id, "mlflow.note.content", "mine")
    register.register(layout, SETTINGS)
    assert runs(layout)[0].data.tags["mlflow.note.content"] == "mine"


def test_the_experiment_is_one_of_models_also_if_an_earlier_version_made_it(layout: Layout) -> None:
    client(layout).create_experiment("tokensieve")
    mlflow_client.open_experiment(client(layout), layout, "tokensieve")
    mlflow_client.open_experiment(client(layout), layout, "new")
    for name in ("tokensieve", "new"):
        tags = client(layout).get_experiment_by_name(name).tags
        assert tags["mlflow.experimentKind"] == "custom_model_development"


def test_the_model_has_an_example_that_it_can_predict(layout: Layout) -> None:
    register.register(layout, SETTINGS)
    folder = str(next(layout.runs.rglob("MLmodel")).parent)
    example = mlflow.models.Model.load(folder).load_input_example(folder)
    assert example.to_dict("list") == {"text": ["lost card"]}
    assert len(_load_pyfunc(str(layout.onnx)).predict(example)) == 1


def test_the_password_of_a_database_is_no_parameter() -> None:
    settings = Settings.of({"register": {"uri": "postgresql://me:secret@host/mlflow"}})
    assert "secret" not in str(log_run.parameters(settings))


def test_no_text_of_the_data_and_no_password_is_logged(layout: Layout) -> None:
    (layout.split / "train.jsonl").write_text('{"text": "my private words"}', encoding="utf-8")
    register.register(layout, Settings.of({"register": {"experiment": "e", "name": "classifier"}}))
    files = [path for path in layout.runs.rglob("*") if path.is_file()]
    for path in [*files, layout.at("mlflow.db")]:
        assert b"private words" not in path.read_bytes(), path
        assert b"se/cret" not in path.read_bytes(), path
    (report,) = layout.runs.rglob("validation/report.json")
    assert json.loads(report.read_text(encoding="utf-8"))["checks"][0]["rows"] == [
        {"row": 7, "label": "card"}
    ]
    (lock,) = layout.runs.rglob("dvc.lock")
    assert "uri: postgresql://host/mlflow" in lock.read_text(encoding="utf-8")


def test_a_run_names_the_packages_that_trained_the_model(layout: Layout) -> None:
    trained = {
        "python": "3.11.2",
        "torch": "2.9.1",
        "tokensieve_commit": "abc-dirty",
        "processor": "Tiny 9000",
    }
    write(layout.model / "environment.json", trained)
    register.register(layout, SETTINGS)
    assert {key: runs(layout)[0].data.params[f"environment.{key}"] for key in trained} == trained


def test_a_model_trained_before_that_was_recorded_has_the_present_packages(layout: Layout) -> None:
    register.register(layout, SETTINGS)
    params = runs(layout)[0].data.params
    assert params["environment.onnxruntime"] == installed("onnxruntime")
    assert params["environment.recorded"] == "at registration, not in training"


def test_equal_artifacts_of_another_project_are_a_run_of_their_own(layout: Layout) -> None:
    first = register.register(layout, SETTINGS)
    # The same files in a project with another id: one database for both.
    write(layout.project, {"project": "mails-0000abcd", "model": "mails"})
    second = register.register(layout, Settings.of({"register": {"name": "mails"}}))
    assert second.run_id != first.run_id
    assert len(runs(layout)) == 2
    assert client(layout).get_model_version("mails", "1").tags[PROJECT] == "mails-0000abcd"


def test_a_model_shared_with_another_project_is_warned_of(
    layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    register.register(layout, SETTINGS)
    other = given_identity(layout, SETTINGS).project
    write(layout.project, {"project": "mails-0000abcd", "model": "mails"})
    assert register.register(layout, SETTINGS).version == "2"
    assert f"model 'classifier' is shared with project {other}" in caplog.text


def test_the_same_artifacts_are_registered_once(layout: Layout) -> None:
    first = register.register(layout, SETTINGS)
    assert first.reports.keys() == {"validation", "evaluation"}
    assert register.register(layout, SETTINGS) == first
    assert len(runs(layout)) == 1
    serve(layout, temperature=2.0)
    assert register.register(layout, SETTINGS).version == "2"
    assert aliases(layout) == {"challenger": "2"}
    # Back at the first inputs, the first version is what would be promoted.
    serve(layout)
    assert register.register(layout, SETTINGS) == first
    assert aliases(layout) == {"challenger": "1"}


def test_a_run_that_failed_is_no_challenger_and_is_not_taken_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_model = log_run._log_model

    def cut_off(*inputs: Any) -> None:
        log_model(*inputs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(log_run, "_log_model", cut_off)
        register.register(layout, SETTINGS)
    assert [run.info.status for run in runs(layout)] == ["FAILED"]
    assert client(layout).search_registered_models() == []
    assert not layout.registration.exists()
    assert register.register(layout, SETTINGS).version == "1"
    assert sorted(run.info.status for run in runs(layout)) == ["FAILED", "FINISHED"]


def test_a_run_that_was_killed_is_closed_after_a_day(layout: Layout) -> None:
    experiment = mlflow_client.open_experiment(client(layout), layout, "tokensieve")
    tags = {FINGERPRINT: register.fingerprint(layout), PROJECT: given_identity(layout, SETTINGS).project}
    hour = 60 * 60 * 1000
    for age in (23, 25):
        client(layout).create_run(experiment, start_time=int(time.time() * 1000) - age * hour, tags=tags)
    register.register(layout, SETTINGS)
    # The younger one may be another process at work.
    assert [run.info.status for run in sorted(runs(layout), key=lambda run: run.info.start_time)] == [
        "KILLED",
        "RUNNING",
        "FINISHED",
    ]


def test_a_finished_run_without_a_version_gets_one(layout: Layout) -> None:
    first = register.register(layout, SETTINGS)
    client(layout).delete_registered_model("classifier")
    assert register.register(layout, SETTINGS) == first
    assert len(runs(layout)) == 1
    assert aliases(layout) == {"challenger": "1"}


def test_a_run_whose_files_are_gone_is_made_again(layout: Layout) -> None:
    register.register(layout, SETTINGS)
    shutil.rmtree(layout.runs)
    assert register.register(layout, SETTINGS).version == "2"


def test_registration_error_names_the_missing_file(layout: Layout) -> None:
    (layout.evaluation / "report.json").unlink()
    with pytest.raises(InputError, match=r"evaluation/report\.json is missing; run the stages before"):
        register.register(layout, SETTINGS)
    (layout.onnx / "model.onnx").write_bytes(b"cut off")
    with pytest.raises(InputError, match=r"model\.onnx is not the file that manifest\.json lists"):
        register.register(layout, SETTINGS)
    assert runs(layout) == []


def test_a_deleted_experiment_and_a_bad_name_are_refused(layout: Layout) -> None:
    client(layout).delete_experiment(client(layout).create_experiment("tokensieve"))
    with pytest.raises(InputError, match="experiment 'tokensieve' is deleted"):
        register.register(layout, SETTINGS)
    with pytest.raises(InputError, match=r"register.name is 'a/b' \(allowed: letters"):
        register.register(layout, Settings.of({"register": {"name": "a/b"}}))


def test_mlflow_logs_only_warnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", "INFO")
    monkeypatch.delenv("MLFLOW_LOGGING_LEVEL")
    uri = f"sqlite:///{tmp_path}/new.db"
    mlflow_client.connect(uri)
    assert capsys.readouterr().err == ""
    logging.getLogger("mlflow.store").warning("heard")
    assert "WARNING mlflow.store: heard" in capsys.readouterr().err
    # Who sets the level gets it.
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", "info")
    mlflow_client.connect(uri)
    logging.getLogger("mlflow.store").info("asked for")
    assert "INFO mlflow.store: asked for" in capsys.readouterr().err


def test_mlflow_loads_the_version_with_the_code_it_brings(layout: Layout, tmp_path: Path) -> None:
    register.register(layout, SETTINGS)
    program = (
        "import mlflow.pyfunc, pandas, json\n"
        "model = mlflow.pyfunc.load_model('models:/classifier@challenger')\n"
        "answers = model.predict(pandas.DataFrame({'text': ['lost', 'x', None]}))\n"
        "import tokensieve; print(json.dumps([answers, tokensieve.__file__]))\n"
    )
    environment = {"MLFLOW_TRACKING_URI": tracking_uri(layout, SETTINGS), "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    answers, source = json.loads(done.stdout.splitlines()[-1])
    sure = {
        "label": "card",
        "probability": pytest.approx(1 / (1 + np.exp(-4)), abs=1e-5),
        "uncertain": False,
        "truncated": False,
    }
    assert answers[0] == sure
    assert answers[1]["probability"] == pytest.approx(0.5)
    assert answers[2] == {"label": "", "probability": 0.0, "uncertain": True, "truncated": False}
    assert "/model/code/" in source


@pytest.mark.parametrize(
    ("thresholds", "columns"),
    [
        ((), {"label": "string", "probability": "double"}),
        ((0.5, 0.5), {"labels": "Array(string)", "probabilities": "Array(double)"}),
    ],
)
def test_the_signature_names_the_columns_of_the_answers(
    layout: Layout, thresholds: tuple[float, ...], columns: dict[str, str]
) -> None:
    replace(Manifest.load(layout.onnx), thresholds=thresholds).save(layout.onnx)
    signature = log_run._signature(Manifest.load(layout.onnx))
    outputs = {spec.name: str(getattr(spec.type, "name", spec.type)) for spec in signature.outputs}
    assert outputs == columns | {"uncertain": "boolean", "truncated": "boolean"}
    (row,) = _load_pyfunc(str(layout.onnx)).predict({"text": ["lost"]})
    assert list(row) == list(outputs)
    for absent in _load_pyfunc(str(layout.onnx)).predict(
        {"text": [None, float("nan"), pandas.NA, "", "\u200b "]}
    ):
        assert list(absent) == list(outputs)
        assert absent["uncertain"]
    with pytest.raises(InputError, match="column 'text' has '5'; give texts"):
        _load_pyfunc(str(layout.onnx)).predict({"text": ["lost", 5]})


def test_spark_processes_use_the_configured_number_of_threads(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, load = list[int | None](), Predictor.load
    monkeypatch.setattr(
        Predictor, "load", lambda folder, threads: told.append(threads) or load(folder, threads)
    )
    for value in ("1", "", "4,2"):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        _load_pyfunc(str(layout.onnx))
    assert told == [1, None, None]


def test_the_child_process_reads_versions_written_by_mlflows_client(layout: Layout, tmp_path: Path) -> None:
    registration = register.register(layout, SETTINGS)
    uri = tracking_uri(layout, SETTINGS)
    editor, reader = MlflowEditor(uri), MlflowProcess(uri, tmp_path / "cache")
    editor.set_tag("classifier", "one", "1")
    editor.set_alias("classifier", "champion", "1")
    assert editor.models() == reader.models() == ["classifier"]
    for name in ("classifier", "other"):
        assert editor.aliases(name) == reader.aliases(name)
        assert editor.versions(name) == reader.versions(name)
        for number in ("1", "2"):
            assert editor.version(name, number) == reader.version(name, number)
    for experiment in ("tokensieve", "absent"):
        assert editor.experiment(experiment) == reader.experiment(experiment)
    assert editor.tags("classifier") == {"one": "1"}
    assert editor.aliases("classifier") == {"challenger": "1", "champion": "1"}
    run = editor.run(registration.run_id)
    assert run and run.metrics["test/accuracy"] == 0.75
    assert editor.run("0" * 32) is None
    found = editor.version("classifier", "1")
    assert found
    assert mlflow_client.list_artifacts(uri, f"{found.location}/data/onnx") == {
        "manifest.json",
        "model.onnx",
        "tokenizer.json",
        "race.json",
    }
