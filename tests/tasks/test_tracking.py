from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas
import pytest
import tokenizers
from mlflow import MlflowClient
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from tasks import record, tracking
from tasks.store import tracking_uri
from tokensieve.errors import InputError
from tokensieve.layout import Layout
from tokensieve.manifest import Manifest
from tokensieve.predictor import Predictor
from tokensieve.pyfunc import _load_pyfunc
from tokensieve.settings import Settings, render

HASH = "0123456789abcdef0123456789abcdef.dir"
SETTINGS = Settings()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without runs: making one takes MLflow seconds."""
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    tracking._client(f"sqlite:///{path}")
    return path


@pytest.fixture
def layout(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A project whose stages have run, and an empty registry."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(database, tmp_path / "mlflow.db")
    layout = Layout(tmp_path)
    layout.params.write_text(render(), encoding="utf-8")
    layout.lock.write_text("stages:\n  register:\n    uri: postgresql://me:se/cret@host/mlflow\n", encoding="utf-8")
    for folder in (layout.validation, layout.split, layout.vocabulary, layout.mask, layout.model, layout.evaluation, layout.onnx):
        folder.mkdir(parents=True)
    at_fault = {"row": 7, "text": "my private words", "label": "card"}
    write(layout.validation / "report.json", {"checks": [{"name": "duplicate", "count": 1, "rows": [at_fault]}]})
    (layout.validation / "docs").mkdir()
    (layout.validation / "docs" / "index.html").write_text("<h1>Data Docs</h1>", encoding="utf-8")
    write(layout.split / "report.json", {"train": 8, "validation": 2, "test": 4, "dropped": {"duplicate": 1}})
    write(layout.vocabulary / "constructs.json", [{"text": "lost card", "label": "card", "information": 0.5, "texts": 3}])
    write(layout.vocabulary / "report.json", {"constructs": 1, "added": [], "tokens_before": 9, "tokens_after": 9, "per_class": {}})
    save_file({"encoder.layer.1.output.dense": np.arange(3, dtype=np.int32)}, layout.mask / "mask.safetensors")
    (layout.mask / "mask.png").write_bytes(b"png")
    write(layout.mask / "report.json", {"shape": "rows", "cut": 1, "layers": [], "trained_parameters": 12, "total_parameters": 100})
    epochs = [{"epoch": epoch, "train_loss": 1 / epoch, "validation_loss": 2 / epoch, "validation_accuracy": 0.5} for epoch in (1, 2)]
    (layout.model / "history.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs), encoding="utf-8")
    (layout.model / "history.png").write_bytes(b"png")
    write(layout.model / "report.json", {"epochs": 2, "best_epoch": 2})
    write(layout.evaluation / "report.json", {"test_accuracy": 0.75, "oos_recall": None, "per_class": {"card": {"f1": 1.0}}})
    serve(layout)
    builds = [{"variant": "fp32", "milliseconds": 4.5, "faults": []}, {"variant": "int8", "milliseconds": 1.5, "faults": ["agreement"]}]
    write(layout.onnx / "race.json", {"processor": "Tiny 9000", "variants": builds})
    return layout


def write(path: Path, tree: Any) -> None:
    path.write_text(json.dumps(tree), encoding="utf-8")


def serve(layout: Layout, temperature: float = 1.0) -> None:
    """A served folder whose logits are the token ids' sum and its negative; another temperature makes another model."""
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
    graph = helper.make_graph(nodes, "tiny", inputs, [output], [helper.make_tensor("axis", TensorProto.INT64, [1], [1])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), layout.onnx / "model.onnx")
    parity = {"texts": 4, "largest_difference": 1e-6, "agreement": 1.0}
    Manifest(("card", "transfer"), temperature, 0.5, 16, HASH, "tiny", parity).save(layout.onnx)


def registered(layout: Layout, versions: int) -> None:
    """That many versions: one is really logged, the others are the same files under the next numbers."""
    tracking.register(layout, SETTINGS)
    first = client(layout).get_model_version("classifier", "1")
    for _ in range(versions - 1):
        client(layout).create_model_version("classifier", str(first.source))


def client(layout: Layout) -> MlflowClient:
    uri = tracking_uri(layout, SETTINGS)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def aliases(layout: Layout) -> dict[str, str]:
    return {alias: str(version) for alias, version in client(layout).get_registered_model("classifier").aliases.items()}


def runs(layout: Layout) -> list[Any]:
    experiment = client(layout).get_experiment_by_name("tokensieve")
    return list(client(layout).search_runs([experiment.experiment_id])) if experiment else []


def test_a_run_holds_all_that_the_stages_made(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    registration = tracking.register(layout, SETTINGS)
    assert registration == json.loads((layout.registration / "registration.json").read_text(encoding="utf-8"))
    assert registration["uri"] == "models:/classifier/1"
    assert capsys.readouterr().out == ""

    (run,) = runs(layout)
    assert run.info.run_id == registration["run_id"]
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith(layout.runs.as_uri())
    assert run.data.params["mask.budget"] == "0.1"
    assert run.data.params["data.shots"] == "None"
    assert run.data.params["validate.errors"].startswith("columns, empty")
    assert run.data.metrics["test_accuracy"] == 0.75
    assert run.data.metrics["mask_trained_parameters"] == 12
    assert (run.data.metrics["race_fp32_milliseconds"], run.data.metrics["race_int8_milliseconds"]) == (4.5, 1.5)
    assert "oos_recall" not in run.data.metrics
    losses = client(layout).get_metric_history(run.info.run_id, "train_loss")
    assert [(loss.step, loss.value) for loss in losses] == [(1, 1.0), (2, 0.5)]

    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("data/raw", HASH)
    assert json.loads(dataset.dataset.profile) == {"train": 8, "validation": 2, "test": 4}

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
        "onnx/race.json",
        "model/MLmodel",
        "model/data/onnx/model.onnx",
        "model/code/tokensieve/predictor.py",
    }
    assert not [name for name in found if name.endswith((".pkl", ".pyc"))]
    table = json.loads((root / "vocabulary/constructs.json").read_text(encoding="utf-8"))
    assert table == {"columns": ["text", "label", "information", "texts"], "data": [["lost card", "card", 0.5, 3]]}

    version = client(layout).get_model_version("classifier", "1")
    assert version.tags["data_hash"] == HASH
    assert aliases(layout) == {"challenger": "1"}


def test_the_password_of_a_database_is_no_parameter() -> None:
    settings = Settings.of({"register": {"uri": "postgresql://me:secret@host/mlflow"}})
    assert "secret" not in str(record.parameters(settings))


def test_no_text_of_the_data_and_no_password_is_logged(layout: Layout) -> None:
    (layout.split / "train.jsonl").write_text('{"text": "my private words"}', encoding="utf-8")
    tracking.register(layout, Settings.of({"register": {"experiment": "e"}}))
    files = [path for path in layout.runs.rglob("*") if path.is_file()]
    for path in [*files, layout.at("mlflow.db")]:
        assert b"private words" not in path.read_bytes(), path
        assert b"se/cret" not in path.read_bytes(), path
    (report,) = layout.runs.rglob("validation/report.json")
    assert json.loads(report.read_text(encoding="utf-8"))["checks"][0]["rows"] == [{"row": 7, "label": "card"}]
    (lock,) = layout.runs.rglob("dvc.lock")
    assert "uri: postgresql://host/mlflow" in lock.read_text(encoding="utf-8")


def test_the_commit_is_a_tag_where_there_is_git(layout: Layout) -> None:
    assert record.commit(layout.root) is None
    git = ["git", "-C", str(layout.root), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "first"], check=True)
    tracking.register(layout, SETTINGS)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert runs(layout)[0].data.tags["mlflow.source.git.commit"] == head


def test_the_same_artifacts_are_registered_once(layout: Layout) -> None:
    first = tracking.register(layout, SETTINGS)
    assert tracking.register(layout, SETTINGS) == first
    assert len(runs(layout)) == 1
    serve(layout, temperature=2.0)
    assert tracking.register(layout, SETTINGS)["version"] == "2"
    assert aliases(layout) == {"challenger": "2"}
    # Back at the first inputs, the first version is what would be promoted.
    serve(layout)
    assert tracking.register(layout, SETTINGS) == first
    assert aliases(layout) == {"challenger": "1"}


def test_a_run_that_failed_is_no_challenger_and_is_not_taken_again(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    log_model = tracking._log_model

    def cut_off(*inputs: Any) -> None:
        log_model(*inputs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tracking, "_log_model", cut_off)
        tracking.register(layout, SETTINGS)
    assert [run.info.status for run in runs(layout)] == ["FAILED"]
    assert client(layout).search_registered_models() == []
    assert not layout.registration.exists()
    assert tracking.register(layout, SETTINGS)["version"] == "1"
    assert sorted(run.info.status for run in runs(layout)) == ["FAILED", "FINISHED"]


def test_a_run_that_was_killed_is_closed_after_a_day(layout: Layout) -> None:
    experiment = tracking._experiment(client(layout), layout, "tokensieve")
    tags = {tracking.FINGERPRINT: record.fingerprint(layout)}
    hour = 60 * 60 * 1000
    for age in (23, 25):
        client(layout).create_run(experiment, start_time=int(time.time() * 1000) - age * hour, tags=tags)
    tracking.register(layout, SETTINGS)
    # The younger one may be another process at work.
    assert [run.info.status for run in sorted(runs(layout), key=lambda run: run.info.start_time)] == ["KILLED", "RUNNING", "FINISHED"]


def test_a_finished_run_without_a_version_gets_one(layout: Layout) -> None:
    first = tracking.register(layout, SETTINGS)
    client(layout).delete_registered_model("classifier")
    assert tracking.register(layout, SETTINGS) == first
    assert len(runs(layout)) == 1
    assert aliases(layout) == {"challenger": "1"}


def test_a_run_whose_files_are_gone_is_made_again(layout: Layout) -> None:
    tracking.register(layout, SETTINGS)
    shutil.rmtree(layout.runs)
    assert tracking.register(layout, SETTINGS)["version"] == "2"
    with pytest.raises(InputError, match=r"version 1 of model 'classifier' holds no manifest\.json"):
        tracking.promote(layout, SETTINGS, "1")


def test_registration_names_what_is_missing(layout: Layout) -> None:
    (layout.evaluation / "report.json").unlink()
    with pytest.raises(InputError, match=r"evaluation/report\.json is missing; run the stages before"):
        tracking.register(layout, SETTINGS)
    (layout.onnx / "model.onnx").write_bytes(b"cut off")
    with pytest.raises(InputError, match=r"model\.onnx is not the file that manifest\.json lists"):
        tracking.register(layout, SETTINGS)
    assert runs(layout) == []


def test_a_deleted_experiment_and_a_bad_name_are_refused(layout: Layout) -> None:
    client(layout).delete_experiment(client(layout).create_experiment("tokensieve"))
    with pytest.raises(InputError, match="experiment 'tokensieve' is deleted"):
        tracking.register(layout, SETTINGS)
    with pytest.raises(InputError, match=r"register.name is 'a/b'; allowed: letters"):
        tracking.register(layout, Settings.of({"register": {"name": "a/b"}}))


def test_a_registration_holds_while_the_registry_knows_it(layout: Layout, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not tracking.registered(layout, SETTINGS)
    tracking.register(layout, SETTINGS)
    assert tracking.registered(layout, SETTINGS)
    path = layout.registration / "registration.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    for other in (whole | {"run_id": "0" * 32}, whole | {"version": "2"}, whole | {"name": "other"}):
        write(path, other)
        assert not tracking.registered(layout, SETTINGS)
    path.write_text("", encoding="utf-8")
    assert not tracking.registered(layout, SETTINGS)
    write(path, whole)
    # The registry that is named now: one not there, which is not made, and one that is empty.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    assert not tracking.registered(layout, SETTINGS)
    assert not layout.at("other.db").exists()
    shutil.copy(database, layout.at("other.db"))
    assert not tracking.registered(layout, SETTINGS)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    client(layout).delete_model_version("classifier", "1")
    assert not tracking.registered(layout, SETTINGS)


def test_mlflow_says_nothing_but_warnings(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", "INFO")
    monkeypatch.delenv("MLFLOW_LOGGING_LEVEL")
    uri = f"sqlite:///{tmp_path}/new.db"
    tracking._client(uri)
    assert capsys.readouterr().err == ""
    logging.getLogger("mlflow.store").warning("heard")
    assert "WARNING mlflow.store: heard" in capsys.readouterr().err
    # Who sets the level gets it.
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", "info")
    tracking._client(uri)
    logging.getLogger("mlflow.store").info("asked for")
    assert "INFO mlflow.store: asked for" in capsys.readouterr().err


def test_the_champion_is_empty_until_there_is_one(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking.champion(layout, SETTINGS) == {}
    tracking.register(layout, SETTINGS)
    assert tracking.champion(layout, SETTINGS) == {}
    tracking.promote(layout, SETTINGS)
    expected = {"name": "classifier", "version": "1", "labels": ["card", "transfer"], "data_hash": HASH}
    assert tracking.champion(layout, SETTINGS) == expected
    # The environment goes before the settings, and asking makes no database.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    assert tracking.champion(layout, SETTINGS) == {}
    assert not (layout.root / "other.db").exists()


def test_a_registry_that_does_not_answer_is_named_without_its_password(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(InputError, match=r"MLflow at http://127.0.0.1:9 gives no answer: .*refused") as caught:
        tracking.champion(layout, SETTINGS)
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value, OSError)  # which flows try again
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    layout.at("mlflow.db").write_bytes(b"no database")
    with pytest.raises(InputError, match=r"gives no answer: .*file is not a database"):
        tracking.champion(layout, SETTINGS)


def test_promotions_can_be_rolled_back_one_by_one(layout: Layout) -> None:
    registered(layout, 3)
    assert tracking.promote(layout, SETTINGS) == {"name": "classifier", "version": "1", "replaced": None}
    with pytest.raises(InputError, match="no earlier champion of model 'classifier' is known; promote a version by its number: 1, 2, 3"):
        tracking.rollback(layout, SETTINGS)
    assert tracking.promote(layout, SETTINGS, "2")["replaced"] == "1"
    assert tracking.promote(layout, SETTINGS, "3")["replaced"] == "2"
    assert tracking.promote(layout, SETTINGS, "3")["replaced"] == "3"  # once more changes nothing
    assert tracking.rollback(layout, SETTINGS) == {"name": "classifier", "version": "2", "replaced": "3"}
    assert aliases(layout) == {"challenger": "1", "champion": "2"}
    assert tracking.rollback(layout, SETTINGS)["version"] == "1"
    with pytest.raises(InputError, match="no earlier champion"):
        tracking.rollback(layout, SETTINGS)
    notes = json.loads(client(layout).get_registered_model("classifier").tags[tracking.PROMOTIONS])
    assert [(note["action"], note["version"]) for note in notes] == [
        ("promote", "1"),
        ("promote", "2"),
        ("promote", "3"),
        ("rollback", "2"),
        ("rollback", "1"),
    ]


def test_a_move_cut_off_in_the_middle_never_makes_a_rollback_go_forward(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    registered(layout, 3)
    for version in "123":
        tracking.promote(layout, SETTINGS, version)

    def cut_off(*_: Any) -> None:
        raise ConnectionError

    for step in ("set_registered_model_alias", "set_registered_model_tag"):
        with monkeypatch.context() as patch, pytest.raises(ConnectionError):
            patch.setattr(MlflowClient, step, cut_off)
            tracking.rollback(layout, SETTINGS)
    assert tracking.rollback(layout, SETTINGS)["version"] == "2"
    with monkeypatch.context() as patch, pytest.raises(ConnectionError):
        patch.setattr(MlflowClient, "set_registered_model_tag", cut_off)
        tracking.promote(layout, SETTINGS, "3")
    assert tracking.rollback(layout, SETTINGS) == {"name": "classifier", "version": "2", "replaced": "3"}


def test_what_is_not_there_is_named_with_what_is(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(InputError, match=r"absent\.db does not exist; register a model first"):
        patch.setenv("MLFLOW_TRACKING_URI", "sqlite:///absent.db")
        tracking.promote(layout, SETTINGS)
    assert not layout.at("absent.db").exists()
    with pytest.raises(InputError, match="no model 'classifier' in the registry; models: none"):
        tracking.promote(layout, SETTINGS)
    tracking.register(layout, SETTINGS)
    with pytest.raises(InputError, match="model 'classifier' has no version '7'; versions: 1"):
        tracking.promote(layout, SETTINGS, "7")
    client(layout).delete_registered_model_alias("classifier", "challenger")
    with pytest.raises(InputError, match="has no alias 'challenger'; aliases: none"):
        tracking.promote(layout, SETTINGS)


def test_mlflow_loads_the_version_with_the_code_it_brings(layout: Layout, tmp_path: Path) -> None:
    tracking.register(layout, SETTINGS)
    program = (
        "import mlflow.pyfunc, pandas, json\n"
        "model = mlflow.pyfunc.load_model('models:/classifier@challenger')\n"
        "answers = model.predict(pandas.DataFrame({'text': ['lost', 'x', None]}))\n"
        "import tokensieve; print(json.dumps([answers, tokensieve.__file__]))\n"
    )
    environment = {"MLFLOW_TRACKING_URI": tracking_uri(layout, SETTINGS), "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    answers, source = json.loads(done.stdout.splitlines()[-1])
    sure = {"label": "card", "probability": pytest.approx(1 / (1 + np.exp(-4)), abs=1e-5), "uncertain": False, "truncated": False}
    assert answers[0] == sure
    assert answers[1]["probability"] == pytest.approx(0.5)
    assert answers[2] == {"label": "", "probability": 0.0, "uncertain": True, "truncated": False}
    assert "/model/code/" in source


@pytest.mark.parametrize(
    ("thresholds", "columns"),
    [((), {"label": "string", "probability": "double"}), ((0.5, 0.5), {"labels": "Array(string)", "probabilities": "Array(double)"})],
)
def test_the_signature_names_the_columns_of_the_answers(layout: Layout, thresholds: tuple[float, ...], columns: dict[str, str]) -> None:
    replace(Manifest.load(layout.onnx), thresholds=thresholds).save(layout.onnx)
    signature = tracking._signature(Manifest.load(layout.onnx))
    outputs = {spec.name: str(getattr(spec.type, "name", spec.type)) for spec in signature.outputs}
    assert outputs == columns | {"uncertain": "boolean", "truncated": "boolean"}
    (row,) = _load_pyfunc(str(layout.onnx)).predict({"text": ["lost"]})
    assert list(row) == list(outputs)
    for absent in _load_pyfunc(str(layout.onnx)).predict({"text": [None, float("nan"), pandas.NA]}):
        assert list(absent) == list(outputs)
        assert absent["uncertain"]
    with pytest.raises(InputError, match="column 'text' holds '5'; give texts"):
        _load_pyfunc(str(layout.onnx)).predict({"text": ["lost", 5]})


def test_each_of_sparks_processes_takes_the_cores_that_it_is_told(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    told, load = list[int | None](), Predictor.load
    monkeypatch.setattr(Predictor, "load", lambda folder, threads: told.append(threads) or load(folder, threads))
    for value in ("1", "", "4,2"):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        _load_pyfunc(str(layout.onnx))
    assert told == [1, None, None]
