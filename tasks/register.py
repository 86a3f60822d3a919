"""MLflow: what is kept of a run, and the registered versions. The only module that imports it.

Alias `challenger` names the version registered last, `champion` the one to serve. Not here: moving the champion (`promote.py`).
"""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow.artifacts
import mlflow.pyfunc
from mlflow import MlflowClient, MlflowException
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run
from mlflow.entities.model_registry import RegisteredModel
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array
from mlflow.utils.logging_utils import get_mlflow_log_level

import tokensieve
from tasks import provenance, record
from tasks.project_identity import Identity, given_identity
from tasks.promote import CHALLENGER, FINGERPRINT, PROJECT
from tasks.registered_files import open_store, served_manifest
from tokensieve.errors import InputError, excerpt
from tokensieve.export import choose_variant
from tokensieve.files import read_json, write_json
from tokensieve.inference import manifest
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.mlflow_model import SEVERAL, SINGLE
from tokensieve.project import Layout
from tokensieve.registry.store import (
    SERVED,
    SQLITE,
    ModelVersion,
    check_database,
    exists,
    no_answer,
    tracking_uri,
    without_password,
)
from tokensieve.settings import Settings

MODEL = "model"  # where a run keeps the model
ABANDONED = (
    24 * 60 * 60
)  # seconds after which a run that is still RUNNING was cut off: until then another process may be logging it
# No links on stdout, no bars in the logs of a scheduler, and of MLflow's own lines only the warnings.
ENVIRONMENT = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
log = logging.getLogger("tokensieve")
RUNTIME = ("numpy", "onnxruntime", "pyyaml", "tokenizers")


def register(layout: Layout, settings: Settings) -> dict[str, str]:
    """Log a run of all that the stages made, register its model as the challenger, and write registration.json.

    Where the registry holds a finished run of the same artifacts, that one is taken and nothing is logged again. Returns run_id,
    name, version and uri (models:/NAME/VERSION).

    Raises:
        InputError: an artifact is missing or broken, the experiment is deleted, or the model's name is refused.
    """
    tags = {"data_hash": Manifest.load(layout.onnx).data_hash, FINGERPRINT: record.fingerprint(layout)}
    own = given_identity(layout, settings)
    name, tags = own.model, tags | {PROJECT: own.project}
    if not re.fullmatch(r"\w[\w .-]*", name):
        raise InputError(f"register.name is {excerpt(name)}; allowed: letters, digits, spaces and . _ -")
    client = _client(tracking_uri(layout, settings))
    experiment = _experiment(client, layout, settings.register.experiment)
    run = _finished(client, experiment, tags) or _logged(client, experiment, tags, layout, settings)
    version = _version(client, own, run, tags)
    client.set_registered_model_alias(name, CHALLENGER, version)
    registration = {
        "run_id": run.info.run_id,
        "name": name,
        "version": version,
        "uri": f"models:/{name}/{version}",
    }
    layout.registration.mkdir(parents=True, exist_ok=True)
    write_json(layout.registration / "registration.json", registration)
    return registration


def described(uri: str, name: str) -> dict[str, Any]:
    """All models, and the aliases (None: no such model) and versions of one of them, as `tokensieve.registry.store` has them.

    Raises:
        InputError: no registry at `uri`.
    """
    client = _opened(uri)
    model = _registered(client, name) if name else None
    versions = client.search_model_versions(f"name = '{name}'") if model else []
    return {
        "models": [known.name for known in client.search_registered_models()],
        "aliases": _aliases(model) if model else None,
        "versions": {
            str(found.version): {
                "run_id": found.run_id or "",
                "location": found.source,
                "created": found.creation_timestamp,
            }
            for found in versions
        },
    }


def download(uri: str, location: str, into: Path) -> Path:
    """Fetch the served folder of the model at `location` into the folder `into` and return its path.

    Raises:
        InputError: If its files are gone.
    """
    served = f"{location}/{SERVED}"
    try:
        if manifest.NAME not in listing(uri, served):
            raise InputError(
                f"{without_password(served)} has no {manifest.NAME}: it was moved, or is not a tokensieve model"
            )
        return Path(mlflow.artifacts.download_artifacts(served, dst_path=str(into), tracking_uri=uri))
    except (MlflowException, OSError) as error:
        raise no_answer(location, error) from None


def listing(uri: str, folder: str) -> set[str]:
    """Return the names of the files and folders in `folder`, the address of artifacts."""
    return {Path(file.path).name for file in mlflow.artifacts.list_artifacts(folder, tracking_uri=uri)}


def fetch(uri: str, address: str, into: Path) -> bool:
    """Fetch one artifact into the folder `into`."""
    return bool(mlflow.artifacts.download_artifacts(address, dst_path=str(into), tracking_uri=uri))


class Client:
    """A registry that only MLflow's own client reaches, as `tokensieve.registry.store.Editable` has it: PostgreSQL without a server."""

    def __init__(self, uri: str) -> None:
        self.uri, self._client = uri, _client(uri)

    def models(self) -> list[str]:
        return [model.name for model in self._client.search_registered_models()]

    def aliases(self, name: str) -> dict[str, str] | None:
        model = _registered(self._client, name)
        return _aliases(model) if model else None

    def versions(self, name: str) -> list[str]:
        return [str(found.version) for found in self._client.search_model_versions(f"name = '{name}'")]

    def version(self, name: str, number: str) -> ModelVersion | None:
        found = self._found(name, number)
        location = self._client.get_model_version_download_uri(name, number) if found else ""
        return ModelVersion(found.run_id or "", location, found.creation_timestamp) if found else None

    def tags(self, name: str) -> dict[str, str]:
        model = _registered(self._client, name)
        return dict(model.tags) if model else {}

    def version_tags(self, name: str, number: str) -> dict[str, str]:
        found = self._found(name, number)
        return dict(found.tags) if found else {}

    def metrics(self, run: str) -> dict[str, float]:
        found = _or_none(lambda: self._client.get_run(run))
        return dict(found.data.metrics) if found else {}

    def experiment(self, name: str) -> str | None:
        found = self._client.get_experiment_by_name(name)
        return str(found.lifecycle_stage) if found else None

    def set_alias(self, name: str, alias: str, number: str) -> None:
        self._client.set_registered_model_alias(name, alias, number)

    def set_tag(self, name: str, key: str, value: str) -> None:
        self._client.set_registered_model_tag(name, key, value)

    def _found(self, name: str, number: str) -> Any:
        return _or_none(lambda: self._client.get_model_version(name, number))


def _client(uri: str) -> MlflowClient:
    """A client whose registry answers. Raises RegistryError: it does not."""
    # MLflow reads them at each call; who sets them is obeyed. By default it would try a server for four minutes.
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # But the level was read when MLflow was imported.
    logging.getLogger("mlflow").setLevel(get_mlflow_log_level())
    try:
        if not exists(uri):
            _make_database(Path(uri.removeprefix(SQLITE)))
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)
    except Exception as error:  # MLflow's, the database's or its driver's: they share no narrower base
        raise no_answer(uri, error) from None
    return client


def _make_database(path: Path) -> None:
    """Make MLflow's tables in an SQLite file of its own, then rename it: MLflow cannot finish tables that were begun."""
    # In a folder of a new name: MLflow remembers a database by its address.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        beside = Path(folder) / path.name
        MlflowClient(tracking_uri=f"{SQLITE}{beside}", registry_uri=f"{SQLITE}{beside}").search_experiments(
            max_results=1
        )
        beside.replace(path)


def _opened(uri: str) -> MlflowClient:
    check_database(uri)
    return _client(uri)


def _experiment(client: MlflowClient, layout: Layout, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        # A database keeps no files: they stand in the project. A server knows where its own belong.
        local = None if client.tracking_uri.startswith("http") else layout.runs.resolve().as_uri()
        return str(client.create_experiment(name, artifact_location=local))
    if found.lifecycle_stage != "active":
        raise InputError(
            f"experiment {excerpt(name)} is deleted; restore it (mlflow experiments restore) or set register.experiment"
        )
    return str(found.experiment_id)


def _finished(client: MlflowClient, experiment: str, tags: dict[str, str]) -> Run | None:
    """The project's finished run of these artifacts whose model is still there. Runs that were cut off are closed."""
    whole, abandoned = None, (time.time() - ABANDONED) * 1000
    wanted = " and ".join(f"tags.`{key}` = '{tags[key]}'" for key in (FINGERPRINT, PROJECT))
    for run in client.search_runs([experiment], wanted):
        if run.info.status == "RUNNING" and run.info.start_time < abandoned:
            client.set_terminated(run.info.run_id, "KILLED")
        elif run.info.status == "FINISHED" and _is_whole(client, run):
            whole = run
    return whole


def _is_whole(client: MlflowClient, run: Run) -> bool:
    """Whether the served folder of a run has its manifest and the files that it lists."""
    store = open_store(client.tracking_uri)
    return (
        store is not None
        and served_manifest(store, ModelVersion(run.info.run_id, f"{run.info.artifact_uri}/{MODEL}", 0))
        is not None
    )


def _logged(
    client: MlflowClient, experiment: str, tags: dict[str, str], layout: Layout, settings: Settings
) -> Run:
    """A new run with all of it; FINISHED is set last, so that a run cut off is never taken for a whole one."""
    name = given_identity(layout, settings).model
    run = client.create_run(experiment, tags=tags | provenance.of_project(layout.root), run_name=name)
    try:
        _log_numbers(client, run.info.run_id, layout, settings)
        _log_dataset(client, run.info.run_id, layout, tags["data_hash"])
        _log_files(client, run.info.run_id, layout)
        _log_model(client, run.info.run_id, layout)
    except BaseException:
        client.set_terminated(run.info.run_id, "FAILED")
        raise
    client.set_terminated(run.info.run_id, "FINISHED")
    return run


def _log_numbers(client: MlflowClient, run_id: str, layout: Layout, settings: Settings) -> None:
    now = int(time.time() * 1000)
    parameters = record.parameters(settings) | provenance.trained_with(layout)
    client.log_batch(run_id, params=[Param(key, value) for key, value in parameters.items()])
    metrics = [Metric(key, value, now, step) for key, value, step in record.metrics(layout)]
    for start in range(0, len(metrics), 1000):  # as many as a request takes
        client.log_batch(run_id, metrics=metrics[start : start + 1000])


def _log_dataset(client: MlflowClient, run_id: str, layout: Layout, data_hash: str) -> None:
    name = layout.raw.relative_to(layout.root).as_posix()
    rows = {
        part: rows for part, rows in read_json(layout.split / "report.json").items() if isinstance(rows, int)
    }
    dataset = Dataset(name, data_hash, "local", json.dumps({"uri": name}), profile=json.dumps(rows))
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _log_files(client: MlflowClient, run_id: str, layout: Layout) -> None:
    """The stages' files. What quotes texts of the data or holds a password stays out: all readers of a run would see it."""
    client.log_dict(run_id, record.validation(layout), "validation/report.json")
    for folder in (layout.validation / "docs", layout.mask, layout.evaluation):
        client.log_artifacts(run_id, str(folder), folder.relative_to(layout.validation.parent).as_posix())
    for path in (layout.pipeline, layout.lock):
        if path.exists():
            # dvc.lock repeats the settings, register.uri among them.
            client.log_text(run_id, without_password(path.read_text(encoding="utf-8")), path.name)
    constructs = read_json(layout.vocabulary / "constructs.json")
    table = {
        key: [construct[key] for construct in constructs] for key in ("text", "label", "information", "texts")
    }
    client.log_table(run_id, table, "vocabulary/constructs.json")
    client.log_artifact(run_id, str(layout.vocabulary / "report.json"), "vocabulary")
    client.log_artifact(run_id, str(layout.onnx / choose_variant.NAME), "onnx")
    for name in ("history.jsonl", "history.png", "report.json"):
        client.log_artifact(run_id, str(layout.model / name), "training")


def _log_model(client: MlflowClient, run_id: str, layout: Layout) -> None:
    """The served folder as an MLflow model, which `tokensieve.inference.mlflow_model` loads: no pickle, the code beside it."""
    with tempfile.TemporaryDirectory() as folder:
        mlflow.pyfunc.save_model(
            str(Path(folder) / MODEL),
            loader_module="tokensieve.inference.mlflow_model",
            data_path=str(layout.onnx),
            code_paths=[str(Path(tokensieve.__file__).parent)],
            # Named, or MLflow would load the model in another process to find them.
            pip_requirements=[f"{name}=={installed(name)}" for name in RUNTIME],
            # As `signature` it would have to come with an example, which MLflow cannot read back with pandas 3.
            mlflow_model=Model(signature=_signature(Manifest.load(layout.onnx))),
        )
        client.log_artifacts(run_id, str(Path(folder) / MODEL), MODEL)


def _signature(served: Manifest) -> ModelSignature:
    """Return the types of the texts and of the answers. Spark takes the type of a column of answers from them."""
    kinds = {"[string]": Array(DataType.string), "[double]": Array(DataType.double)}
    columns = SEVERAL if served.thresholds else SINGLE
    outputs: list[Any] = [ColSpec(kinds.get(kind, kind), name) for name, kind in columns.items()]
    return ModelSignature(Schema([ColSpec("string", "text")]), Schema(outputs))


def _version(client: MlflowClient, own: Identity, run: Run, tags: dict[str, str]) -> str:
    """The registered version of a run, made if there is none."""
    name, model = own.model, _registered(client, own.model)
    if model is None:
        client.create_registered_model(name)
    else:
        _warn_of_sharing(client, own, _aliases(model).get(CHALLENGER))
    for found in client.search_model_versions(f"run_id = '{run.info.run_id}'"):
        if found.name == name:
            return str(found.version)
    return str(
        client.create_model_version(name, f"{run.info.artifact_uri}/{MODEL}", run.info.run_id, tags).version
    )


def _warn_of_sharing(client: MlflowClient, own: Identity, challenger: str | None) -> None:
    other = client.get_model_version(own.model, challenger).tags.get(PROJECT) if challenger else None
    if other and other != own.project:
        log.warning(
            "model '%s' is shared with project %s: alias %s moves from its version to this one; set register.name to keep them apart",
            own.model,
            other,
            CHALLENGER,
        )


def _registered(client: MlflowClient, name: str) -> RegisteredModel | None:
    found: RegisteredModel | None = _or_none(lambda: client.get_registered_model(name))
    return found


def _or_none(request: Callable[[], Any]) -> Any:
    """Return the result of a request to MLflow; None if what it names does not exist."""
    try:
        return request()
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _aliases(model: RegisteredModel) -> dict[str, str]:
    # A database gives the versions as numbers, a server as text.
    return {alias: str(version) for alias, version in model.aliases.items()}
