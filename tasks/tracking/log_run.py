"""What a run in MLflow consists of: parameters, metrics, the data version, files, and the model."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow.pyfunc
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array

import tokensieve
from tasks.artifacts import Registration, SplitSizes, load_constructs
from tasks.promotion.gate import CHAMPION, OUTCOME, REPORT
from tasks.promotion.gate_report import GateReport, text_table
from tasks.reporting.run_verdict import run_verdict
from tasks.tracking import provenance
from tasks.tracking.mlflow_client import connect
from tokensieve.evaluation.predictions import NAME as PREDICTIONS
from tokensieve.export import choose_variant
from tokensieve.files import read_json
from tokensieve.inference.manifest import NAME, Manifest
from tokensieve.inference.mlflow_model import MULTI_LABEL, SINGLE_LABEL
from tokensieve.project import Layout
from tokensieve.registry.store import without_password
from tokensieve.settings import Settings

MODEL = "model"  # the folder of the model in a run
RUNTIME = ("numpy", "onnxruntime", "pyyaml", "tokenizers")  # what the model needs to run
METRICS_PER_REQUEST = 1000
# Of each exported build. The rest is in race.json.
RACE = ("milliseconds", "megabytes", "largest_difference", "agreement", "confident_agreement", "accuracy")


def log_run(client: MlflowClient, run_id: str, layout: Layout, settings: Settings, data_hash: str) -> None:
    """Log what the stages wrote to run `run_id`."""
    _log_numbers(client, run_id, layout, settings)
    _log_verdict(client, run_id, layout)
    _log_dataset(client, run_id, layout, data_hash)
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


def metrics(layout: Layout) -> Iterator[tuple[str, float, int]]:
    """Yield (name, value, step) of each metric.

    The steps of the training history are its epochs. Numbers of the reports have step 0.
    """
    for line in (layout.model / "history.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield from ((key, float(value), row["epoch"]) for key, value in row.items() if key != "epoch")
    finals, race_report = (
        read_json(layout.evaluation / "report.json"),
        read_json(layout.onnx / choose_variant.NAME),
    )
    served = race_report.get("served", {})
    baselines = finals.get("baselines", {})
    finals |= {f"torch_{key}": finals[key] for key in served if key in finals} | served
    for name, baseline in baselines.items():
        finals |= {f"{name}_{key}": baseline[key] for key in ("accuracy", "macro_f1") if baseline}
    for folder in (layout.mask, layout.vocabulary):
        finals |= {f"{folder.name}_{key}": value for key, value in read_json(folder / "report.json").items()}
    finals |= {f"onnx_{key}": value for key, value in read_json(layout.onnx / NAME)["parity"].items()}
    for row in race_report["variants"]:
        finals |= {f"race_{row['variant']}_{key}": row[key] for key in RACE if key in row}
    yield from ((key, float(value), 0) for key, value in finals.items() if isinstance(value, int | float))


def validation_without_texts(layout: Layout) -> dict[str, Any]:
    """Return the validation report without the texts of the rows that failed.

    Row numbers and labels stay.
    """
    report: dict[str, Any] = read_json(layout.validation / "report.json")
    for check in report["checks"]:
        for row in check["rows"]:
            row.pop("text", None)
    return report


def _log_verdict(client: MlflowClient, run_id: str, layout: Layout) -> None:
    """Show the verdict as the description of the run. Earlier evaluations have none."""
    if verdict := run_verdict(layout):
        client.set_tag(run_id, "mlflow.note.content", verdict["sentence"])


def _log_numbers(client: MlflowClient, run_id: str, layout: Layout, settings: Settings) -> None:
    now = int(time.time() * 1000)
    values = parameters(settings) | provenance.trained_with(layout)
    client.log_batch(run_id, params=[Param(key, value) for key, value in values.items()])
    points = [Metric(key, value, now, step) for key, value, step in metrics(layout)]
    for start in range(0, len(points), METRICS_PER_REQUEST):
        client.log_batch(run_id, metrics=points[start : start + METRICS_PER_REQUEST])


def _log_dataset(client: MlflowClient, run_id: str, layout: Layout, data_hash: str) -> None:
    name = layout.raw.relative_to(layout.root).as_posix()
    rows = asdict(SplitSizes.load(layout.split))
    dataset = Dataset(name, data_hash, "local", json.dumps({"uri": name}), profile=json.dumps(rows))
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
    client.log_artifact(run_id, str(layout.onnx / choose_variant.NAME), "onnx")
    for name in ("history.jsonl", "history.png", "report.json"):
        client.log_artifact(run_id, str(layout.model / name), "training")


def _log_model(client: MlflowClient, run_id: str, layout: Layout) -> None:
    """Log the exported folder as an MLflow model with its code and without pickle.

    `inference/mlflow_model.py` loads it.
    """
    with tempfile.TemporaryDirectory() as folder:
        mlflow.pyfunc.save_model(
            str(Path(folder) / MODEL),
            loader_module="tokensieve.inference.mlflow_model",
            data_path=str(layout.onnx),
            code_paths=[str(Path(tokensieve.__file__).parent)],
            # Without them, MLflow would load the model in another process to find out.
            pip_requirements=[f"{name}=={installed(name)}" for name in RUNTIME],
            # The argument `signature` would need an example, which MLflow cannot read back with
            # pandas 3.
            mlflow_model=Model(signature=_signature(Manifest.load(layout.onnx))),
        )
        client.log_artifacts(run_id, str(Path(folder) / MODEL), MODEL)


def _signature(served: Manifest) -> ModelSignature:
    """Return the types of the texts and of the predictions.

    Spark reads the type of a column from them.
    """
    kinds = {"[string]": Array(DataType.string), "[double]": Array(DataType.double)}
    columns = MULTI_LABEL if served.thresholds else SINGLE_LABEL
    outputs: list[Any] = [ColSpec(kinds.get(kind, kind), name) for name, kind in columns.items()]
    inputs: list[Any] = [ColSpec("string", name) for name in served.text_columns or ("text",)]
    return ModelSignature(Schema(inputs), Schema(outputs))
