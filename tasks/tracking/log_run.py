"""What a run in MLflow consists of: parameters, metrics, the data version, files, and the model."""

from __future__ import annotations

import json
import tempfile
import time
import zipfile
from dataclasses import asdict
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow.pyfunc
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array

import tokensieve
from tasks.artifacts import Registration, SplitSizes, load_constructs
from tasks.promotion.gate import CHAMPION, OUTCOME, REPORT
from tasks.promotion.gate_report import GateReport, text_table
from tasks.reporting.run_verdict import run_verdict
from tasks.tracking import provenance, run_metrics, run_words
from tasks.tracking.mlflow_client import connect
from tasks.versioning.data_versions import find_data_version
from tokensieve.evaluation.predictions import NAME as PREDICTIONS
from tokensieve.files import read_json, write_json
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.mlflow_model import MULTI_LABEL, SINGLE_LABEL
from tokensieve.project import Layout
from tokensieve.registry.store import without_password
from tokensieve.settings import Settings

CLASSES = "evaluation/classes.json"
MODEL = "model"  # the folder of the model in a run
CODE = "code/tokensieve.zip"  # the package in the folder of the model
RUNTIME = ("numpy", "onnxruntime", "pyyaml", "tokenizers")  # what the model needs to run
METRICS_PER_REQUEST = 1000
EXAMPLE = "input_example.json"
SCHEMES = {
    "http": ("http", "url"),
    "https": ("http", "url"),
    "s3": ("s3", "uri"),
}  # of data, as MLflow names them
DESCRIPTION = "mlflow.note.content"  # tag: what MLflow shows as the description of a run


def log_run(client: MlflowClient, run_id: str, layout: Layout, settings: Settings, data_hash: str) -> None:
    """Log what the stages wrote to run `run_id`."""
    _log_numbers(client, run_id, layout, settings)
    _log_dataset(client, run_id, layout, settings, data_hash)
    _log_files(client, run_id, layout)
    _log_model(client, run_id, layout)


def log_gate(uri: str, registered: Registration, report: GateReport) -> None:
    """Log the report of the gate: as an artifact of the run and as tags of the version."""
    client, tree = connect(uri), report.tree()
    client.log_dict(registered.run_id, tree, "gate/report.json")
    client.log_text(registered.run_id, text_table(report), "gate/report.txt")
    tags = {OUTCOME: report.outcome, CHAMPION: report.champion or "", REPORT: json.dumps(tree)}
    for key, value in tags.items():
        client.set_model_version_tag(registered.name, registered.version, key, value)


def describe(client: MlflowClient, run: Run, layout: Layout, model: str, version: str) -> None:
    """Name and describe a run and its registered version, unless the run has a description.

    A run that has one was described before, and a person may have changed it since.
    """
    if DESCRIPTION in run.data.tags:
        return
    data = find_data_version(layout, Manifest.load(layout.onnx).data_hash)
    evaluated = _evaluated(layout)
    folders = (layout.evaluation, layout.mask, layout.validation)
    files = {file.relative_to(layout.report.parent).as_posix() for f in folders for file in f.rglob("*")}
    files |= {"report.html", CLASSES, "training/history.png"}
    words = run_words.description(model, version, data, evaluated, files)
    client.update_model_version(model, version, words)
    client.update_run(run.info.run_id, name=run_words.run_name(version, data, evaluated))
    client.set_tag(run.info.run_id, DESCRIPTION, words)  # last: it marks the run as described


def log_report(uri: str, run_id: str, page: str) -> None:
    """Log the report of a run. All readers of the run see it, so it must have no texts."""
    connect(uri).log_text(run_id, page, "report.html")


def run_tags(uri: str, run_id: str) -> dict[str, str]:
    """Return the tags of a run."""
    return dict(connect(uri).get_run(run_id).data.tags)


def parameters(settings: Settings) -> dict[str, str]:
    """Return every setting as text by `section.key`.

    `register.uri` is left out: it may contain a password.
    """
    flat = {
        f"{section}.{key}": value for section, keys in asdict(settings).items() for key, value in keys.items()
    }
    del flat["register.uri"]
    return {key: ", ".join(value) if isinstance(value, tuple) else str(value) for key, value in flat.items()}


def validation_without_texts(layout: Layout) -> dict[str, Any]:
    """Return the validation report without the texts of the rows that failed.

    Row numbers and labels stay.
    """
    report: dict[str, Any] = read_json(layout.validation / "report.json")
    for check in report["checks"]:
        for row in check["rows"]:
            row.pop("text", None)
    return report


def _log_numbers(client: MlflowClient, run_id: str, layout: Layout, settings: Settings) -> None:
    now = int(time.time() * 1000)
    values = parameters(settings) | provenance.trained_with(layout)
    client.log_batch(run_id, params=[Param(key, value) for key, value in values.items()])
    points = [Metric(key, value, now, step) for key, value, step in run_metrics.metrics(layout)]
    for start in range(0, len(points), METRICS_PER_REQUEST):
        client.log_batch(run_id, metrics=points[start : start + METRICS_PER_REQUEST])


def _evaluated(layout: Layout) -> dict[str, Any]:
    """Return the evaluation report, with the figures of the served build and the run's verdict."""
    report: dict[str, Any] = read_json(layout.evaluation / "report.json")
    served: dict[str, Any] = read_json(layout.race).get("served", {})
    return report | served | {"verdict": run_verdict(layout)}


def _log_dataset(
    client: MlflowClient, run_id: str, layout: Layout, settings: Settings, data_hash: str
) -> None:
    """Log the version of the data: name and source as the user gave them, columns, rows, hash."""
    data = find_data_version(layout, data_hash)
    raw = layout.raw.relative_to(layout.root).as_posix()
    source = data.source if data else raw
    is_address = "://" in source and not (data and data.parent)
    scheme = source.split("://")[0] if is_address else ""
    kind, key = SCHEMES.get(scheme, ("local", "uri"))
    sizes = asdict(SplitSizes.load(layout.split))
    columns = [*settings.data.text_columns, settings.data.label_column]
    schema = {"mlflow_colspec": [{"type": "string", "name": name, "required": True} for name in columns]}
    dataset = Dataset(
        run_words.data_name(data) or raw,
        data_hash,
        kind,
        json.dumps({key: source}),
        schema=json.dumps(schema),
        profile=json.dumps({"num_rows": sum(sizes.values())} | sizes),
    )
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _log_files(client: MlflowClient, run_id: str, layout: Layout) -> None:
    """Log the stages' files.

    They have no texts of the data and no passwords: all readers of a run would see them.
    """
    client.log_dict(run_id, validation_without_texts(layout), "validation/report.json")
    for folder in (layout.validation / "docs", layout.mask):
        client.log_artifacts(run_id, str(folder), folder.relative_to(layout.validation.parent).as_posix())
    for path in layout.evaluation.iterdir():
        if path.name != PREDICTIONS:  # it has the texts
            client.log_artifact(run_id, str(path), layout.evaluation.name)
    for path in (layout.pipeline, layout.lock):
        if path.exists():
            # dvc.lock repeats the settings, and register.uri may contain a password.
            client.log_text(run_id, without_password(path.read_text(encoding="utf-8")), path.name)
    constructs = [asdict(construct) for construct in load_constructs(layout.vocabulary)]
    table = {
        key: [construct[key] for construct in constructs] for key in ("text", "label", "information", "texts")
    }
    client.log_table(run_id, table, "vocabulary/constructs.json")
    client.log_artifact(run_id, str(layout.vocabulary / "report.json"), "vocabulary")
    client.log_table(run_id, run_metrics.class_table(_evaluated(layout)["per_class"]), CLASSES)
    client.log_artifact(run_id, str(layout.race), "onnx")
    for name in ("history.jsonl", "history.png", "report.json"):
        client.log_artifact(run_id, str(layout.model / name), "training")


def _log_model(client: MlflowClient, run_id: str, layout: Layout) -> None:
    """Log the exported folder as an MLflow model with its code and without pickle.

    `inference/mlflow_model.py` loads it.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / MODEL
        model = Model(signature=_signature(Manifest.load(layout.onnx)))
        model.saved_input_example_info = {
            "artifact_path": EXAMPLE,
            "type": "dataframe",
            "pandas_orient": "split",
        }
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module="tokensieve.inference.mlflow_model",
            data_path=str(layout.onnx),
            # Without them, MLflow would load the model in another process to find out.
            pip_requirements=[f"{name}=={installed(name)}" for name in RUNTIME],
            # With the arguments `signature` and `input_example`, MLflow would load the model and
            # predict the example.
            mlflow_model=model,
        )
        _write_code(folder / CODE)
        model.flavors[mlflow.pyfunc.FLAVOR_NAME][mlflow.pyfunc.CODE] = CODE
        model.save(str(folder / "MLmodel"))
        names = [column.name for column in model.signature.inputs.inputs]
        write_json(folder / EXAMPLE, {"columns": names, "data": [[_example(layout)] * len(names)]})
        client.log_artifacts(run_id, str(folder), MODEL)


def _write_code(path: Path) -> None:
    """Write the package `tokensieve` as one zip file, which MLflow adds to `sys.path` as it is.

    A server with users checks the password at each file, which takes it a tenth of a second by
    design. The package has more than 200 files.
    """
    package = Path(tokensieve.__file__).parent
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for file in sorted(package.rglob("*")):
            if file.is_file() and file.parent.name != "__pycache__":
                archive.write(file, file.relative_to(package.parent))


def _example(layout: Layout) -> str:
    """Return an example of the model's input: a construct, since these are logged anyway."""
    return next((construct.text for construct in load_constructs(layout.vocabulary)), "a text")


def _signature(served: Manifest) -> ModelSignature:
    """Return the types of the texts and of the predictions.

    Spark reads the type of a column from them.
    """
    kinds = {"[string]": Array(DataType.string), "[double]": Array(DataType.double)}
    columns = MULTI_LABEL if served.thresholds else SINGLE_LABEL
    outputs: list[Any] = [ColSpec(kinds.get(kind, kind), name) for name, kind in columns.items()]
    inputs: list[Any] = [ColSpec("string", name) for name in served.text_columns or ("text",)]
    return ModelSignature(Schema(inputs), Schema(outputs))
