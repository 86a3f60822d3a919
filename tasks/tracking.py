"""MLflow: what is kept of a run, the registered versions, and which of them is the champion. The only module that imports it.

Alias `challenger` names the version registered last, `champion` the one to serve. Not here: the decision which of them is better.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
import time
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
from tasks import record
from tasks.promotions import champions, noted
from tasks.store import SERVED, SQLITE, check_database, exists, no_answer, tracking_uri, without_password
from tokensieve import manifest, race
from tokensieve.errors import InputError, excerpt
from tokensieve.folder import read_json, write_json
from tokensieve.layout import Layout
from tokensieve.manifest import Manifest
from tokensieve.pyfunc import SEVERAL, SINGLE
from tokensieve.settings import Settings

CHAMPION, CHALLENGER = "champion", "challenger"
FINGERPRINT = "tokensieve.fingerprint"  # tag of a run: the hash of all it was made from
PROMOTIONS = "tokensieve.promotions"  # tag of a registered model: its last champions, as JSON
MODEL = "model"  # where a run keeps the model
ABANDONED = 24 * 60 * 60  # seconds after which a run that is still RUNNING was cut off: until then another process may be logging it
# No links on stdout, no bars in the logs of a scheduler, and of MLflow's own lines only the warnings.
ENVIRONMENT = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
RUNTIME = ("numpy", "onnxruntime", "pyyaml", "tokenizers")


def champion(layout: Layout, settings: Settings) -> dict[str, Any]:
    """Name, version, labels and data hash of the champion; empty when there is none. Makes no database.

    Raises:
        InputError: the champion's files are gone.
    """
    uri, name = tracking_uri(layout, settings), settings.register.name
    client = _client(uri) if exists(uri) else None
    model = _registered(client, name) if client else None
    version = _aliases(model).get(CHAMPION) if model else None
    if not (client and version):
        return {}
    served = f"{_served(client, name, version)}/{manifest.NAME}"
    with tempfile.TemporaryDirectory() as folder:
        tree = read_json(Path(mlflow.artifacts.download_artifacts(served, dst_path=folder, tracking_uri=uri)))
    return {"name": name, "version": version, "labels": tree["labels"], "data_hash": tree["data_hash"]}


def register(layout: Layout, settings: Settings) -> dict[str, str]:
    """Log a run of all that the stages made, register its model as the challenger, and write registration.json.

    Where the registry holds a finished run of the same artifacts, that one is taken and nothing is logged again. Returns run_id,
    name, version and uri (models:/NAME/VERSION).

    Raises:
        InputError: an artifact is missing or broken, the experiment is deleted, or the model's name is refused.
    """
    tags = {"data_hash": Manifest.load(layout.onnx).data_hash, FINGERPRINT: record.fingerprint(layout)}
    name = settings.register.name
    if not re.fullmatch(r"\w[\w .-]*", name):
        raise InputError(f"register.name is {excerpt(name)}; allowed: letters, digits, spaces and . _ -")
    client = _client(tracking_uri(layout, settings))
    experiment = _experiment(client, layout, settings.register.experiment)
    run = _finished(client, experiment, tags[FINGERPRINT]) or _logged(client, experiment, tags, layout, settings)
    version = _version(client, name, run, tags)
    client.set_registered_model_alias(name, CHALLENGER, version)
    registration = {"run_id": run.info.run_id, "name": name, "version": version, "uri": f"models:/{name}/{version}"}
    layout.registration.mkdir(parents=True, exist_ok=True)
    write_json(layout.registration / "registration.json", registration)
    return registration


def registered(layout: Layout, settings: Settings) -> bool:
    """Whether the registry holds the version that registration.json names, made from the same run. Makes no database.

    Raises:
        InputError: as `tracking_uri`, or the registry gives no answer.
    """
    uri = tracking_uri(layout, settings)
    try:
        registration = read_json(layout.registration / "registration.json")
    except (FileNotFoundError, ValueError):
        return False
    if not exists(uri):
        return False
    try:
        found = _client(uri).get_model_version(registration["name"], registration["version"])
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return bool(found.run_id == registration["run_id"])


def described(uri: str, name: str) -> dict[str, Any]:
    """All models, and the aliases (None: no such model) and versions of one of them, as `tasks.store` has them.

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
            str(found.version): {"run_id": found.run_id or "", "location": found.source, "created": found.creation_timestamp}
            for found in versions
        },
    }


def download(uri: str, location: str, into: Path) -> Path:
    """Fetch the served folder of the model at `location` into the folder `into`; returns where it stands.

    Raises:
        InputError: its files are gone.
    """
    served = f"{location}/{SERVED}"
    try:
        if manifest.NAME not in {Path(file.path).name for file in mlflow.artifacts.list_artifacts(served, tracking_uri=uri)}:
            raise InputError(f"{without_password(served)} holds no {manifest.NAME}: its files were moved, or are not of tokensieve")
        return Path(mlflow.artifacts.download_artifacts(served, dst_path=str(into), tracking_uri=uri))
    except (MlflowException, OSError) as error:
        raise no_answer(location, error) from None


def promote(layout: Layout, settings: Settings, version: str | None = None) -> dict[str, str | None]:
    """Make `version`, by default the challenger, the champion. Returns name, version and the version it replaced (None: the first).

    Raises:
        InputError: no registry, model, version or challenger of that name, or its files are gone.
    """
    client, name = _opened(tracking_uri(layout, settings)), settings.register.name
    model = _model(client, name)
    version = version or _aliased(client, model, CHALLENGER)
    _served(client, name, version)
    replaced = _aliases(model).get(CHAMPION)
    if version != replaced:
        # The alias first: were it not noted, a rollback would still find the champion before it.
        client.set_registered_model_alias(name, CHAMPION, version)
        _note(client, model, "promote", version, replaced)
    return {"name": name, "version": version, "replaced": replaced}


def rollback(layout: Layout, settings: Settings) -> dict[str, str | None]:
    """Make the champion before this one the champion again. Returns as `promote`.

    Raises:
        InputError: as `promote`, or no earlier champion is known.
    """
    client, name = _opened(tracking_uri(layout, settings)), settings.register.name
    model = _model(client, name)
    replaced = _aliases(model).get(CHAMPION)
    earlier = champions(_promotions(model))
    while earlier and earlier[-1] == replaced:
        earlier.pop()
    if not earlier:
        raise InputError(f"no earlier champion of model '{name}' is known; promote a version by its number: {_versions(client, name)}")
    _served(client, name, earlier[-1])
    # The note first: were the alias not moved, the next rollback would go back to the same version, not forward.
    _note(client, model, "rollback", earlier[-1], replaced)
    client.set_registered_model_alias(name, CHAMPION, earlier[-1])
    return {"name": name, "version": earlier[-1], "replaced": replaced}


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
        MlflowClient(tracking_uri=f"{SQLITE}{beside}", registry_uri=f"{SQLITE}{beside}").search_experiments(max_results=1)
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
        raise InputError(f"experiment {excerpt(name)} is deleted; restore it (mlflow experiments restore) or set register.experiment")
    return str(found.experiment_id)


def _finished(client: MlflowClient, experiment: str, fingerprint: str) -> Run | None:
    """The finished run of these artifacts whose model is still there. Runs that were cut off are closed."""
    whole, abandoned = None, (time.time() - ABANDONED) * 1000
    for run in client.search_runs([experiment], f"tags.`{FINGERPRINT}` = '{fingerprint}'"):
        if run.info.status == "RUNNING" and run.info.start_time < abandoned:
            client.set_terminated(run.info.run_id, "KILLED")
        elif run.info.status == "FINISHED" and client.list_artifacts(run.info.run_id, f"{MODEL}/{SERVED}"):
            whole = run
    return whole


def _logged(client: MlflowClient, experiment: str, tags: dict[str, str], layout: Layout, settings: Settings) -> Run:
    """A new run with all of it; FINISHED is set last, so that a run cut off is never taken for a whole one."""
    commit = record.commit(layout.root)
    of_git = {"mlflow.source.git.commit": commit} if commit else {}
    run = client.create_run(experiment, tags=tags | of_git, run_name=settings.register.name)
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
    client.log_batch(run_id, params=[Param(key, value) for key, value in record.parameters(settings).items()])
    metrics = [Metric(key, value, now, step) for key, value, step in record.metrics(layout)]
    for start in range(0, len(metrics), 1000):  # as many as a request takes
        client.log_batch(run_id, metrics=metrics[start : start + 1000])


def _log_dataset(client: MlflowClient, run_id: str, layout: Layout, data_hash: str) -> None:
    name = layout.raw.relative_to(layout.root).as_posix()
    rows = {part: rows for part, rows in read_json(layout.split / "report.json").items() if isinstance(rows, int)}
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
    table = {key: [construct[key] for construct in constructs] for key in ("text", "label", "information", "texts")}
    client.log_table(run_id, table, "vocabulary/constructs.json")
    client.log_artifact(run_id, str(layout.vocabulary / "report.json"), "vocabulary")
    client.log_artifact(run_id, str(layout.onnx / race.NAME), "onnx")
    for name in ("history.jsonl", "history.png", "report.json"):
        client.log_artifact(run_id, str(layout.model / name), "training")


def _log_model(client: MlflowClient, run_id: str, layout: Layout) -> None:
    """The served folder as an MLflow model, which `tokensieve.pyfunc` loads: no pickle, the code beside it."""
    with tempfile.TemporaryDirectory() as folder:
        mlflow.pyfunc.save_model(
            str(Path(folder) / MODEL),
            loader_module="tokensieve.pyfunc",
            data_path=str(layout.onnx),
            code_paths=[str(Path(tokensieve.__file__).parent)],
            # Named, or MLflow would load the model in another process to find them.
            pip_requirements=[f"{name}=={installed(name)}" for name in RUNTIME],
            # As `signature` it would have to come with an example, which MLflow cannot read back with pandas 3.
            mlflow_model=Model(signature=_signature(Manifest.load(layout.onnx))),
        )
        client.log_artifacts(run_id, str(Path(folder) / MODEL), MODEL)


def _signature(served: Manifest) -> ModelSignature:
    """A column of texts in, the columns of `tokensieve.pyfunc` out: from them Spark knows the type of a column of answers."""
    kinds = {"[string]": Array(DataType.string), "[double]": Array(DataType.double)}
    columns = SEVERAL if served.thresholds else SINGLE
    outputs: list[Any] = [ColSpec(kinds.get(kind, kind), name) for name, kind in columns.items()]
    return ModelSignature(Schema([ColSpec("string", "text")]), Schema(outputs))


def _version(client: MlflowClient, name: str, run: Run, tags: dict[str, str]) -> str:
    """The registered version of a run, made if there is none."""
    if _registered(client, name) is None:
        client.create_registered_model(name)
    for found in client.search_model_versions(f"run_id = '{run.info.run_id}'"):
        if found.name == name:
            return str(found.version)
    return str(client.create_model_version(name, f"{run.info.artifact_uri}/{MODEL}", run.info.run_id, tags).version)


def _registered(client: MlflowClient, name: str) -> RegisteredModel | None:
    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _model(client: MlflowClient, name: str) -> RegisteredModel:
    model = _registered(client, name)
    if model is None:
        known = ", ".join(model.name for model in client.search_registered_models()) or "none"
        raise InputError(f"no model {excerpt(name)} in the registry; models: {known}")
    return model


def _aliases(model: RegisteredModel) -> dict[str, str]:
    # A database gives the versions as numbers, a server as text.
    return {alias: str(version) for alias, version in model.aliases.items()}


def _aliased(client: MlflowClient, model: RegisteredModel, alias: str) -> str:
    aliases = _aliases(model)
    if alias not in aliases:
        known = ", ".join(f"{name} ({version})" for name, version in sorted(aliases.items())) or "none"
        raise InputError(f"model '{model.name}' has no alias {excerpt(alias)}; aliases: {known}; versions: {_versions(client, model.name)}")
    return aliases[alias]


def _versions(client: MlflowClient, name: str) -> str:
    found = sorted(int(found.version) for found in client.search_model_versions(f"name = '{name}'"))
    return ", ".join(map(str, found)) or "none"


def _known(client: MlflowClient, name: str, version: str) -> str:
    known = _versions(client, name)
    if version not in known.split(", "):
        raise InputError(f"model '{name}' has no version {excerpt(version)}; versions: {known}")
    return version


def _served(client: MlflowClient, name: str, version: str) -> str:
    """The address of a version's served folder. Raises InputError: no such version, or one without a manifest."""
    uri = f"{client.get_model_version_download_uri(name, _known(client, name, version))}/{SERVED}"
    files = mlflow.artifacts.list_artifacts(uri, tracking_uri=client.tracking_uri)
    if manifest.NAME not in {Path(file.path).name for file in files}:
        raise InputError(f"version {version} of model '{name}' holds no {manifest.NAME}: its files were moved, or are not of tokensieve")
    return uri


def _promotions(model: RegisteredModel) -> list[dict[str, Any]]:
    return list(json.loads(model.tags.get(PROMOTIONS, "[]")))


def _note(client: MlflowClient, model: RegisteredModel, action: str, version: str, replaced: str | None) -> None:
    client.set_registered_model_tag(model.name, PROMOTIONS, json.dumps(noted(_promotions(model), action, version, replaced)))
