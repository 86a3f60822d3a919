"""MLflow's own client: connect to a registry, and look models and files up in it.

Only this file and the two that write to MLflow (`log_run.py`, `register.py`) import MLflow.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlflow.artifacts
from mlflow import MlflowClient, MlflowException
from mlflow.entities import Metric, Param, Run, ViewType
from mlflow.entities.model_registry import RegisteredModel
from mlflow.utils.logging_utils import get_mlflow_log_level

from tokensieve.disk import full_disk_error
from tokensieve.errors import InputError, excerpt
from tokensieve.inference import manifest
from tokensieve.project import Layout
from tokensieve.registry.store import (
    SERVED,
    SQLITE,
    check_database,
    exists,
    no_answer,
    without_password,
)

# No links on stdout, no progress bars in the logs of a scheduler, and of MLflow's own log only the
# warnings.
ENVIRONMENT = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
# Tag of an experiment: MLflow's page opens on runs, and not on traces of language models.
KIND = {"mlflow.experimentKind": "custom_model_development"}
RUNS_PER_REQUEST = 1000
LOCK_SECONDS = 30.0  # for which a change waits for the changes of other processes
RACE_SECONDS = (
    2.0  # for which a refused change is tried again: of several processes that create an alias, one succeeds
)


def connect(uri: str) -> MlflowClient:
    """Return MLflow's client of the registry at `uri`. An SQLite file that does not exist is made.

    Raises:
        RegistryError: If the registry does not respond.
    """
    # MLflow reads them at each call. What the user has set stays. By default it would try a server
    # for four minutes.
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # MLflow has read this one already, when it was imported.
    logging.getLogger("mlflow").setLevel(get_mlflow_log_level())
    # This one logs, with a traceback, what it then raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    try:
        if not exists(uri):
            _make_database(Path(uri.removeprefix(SQLITE)))
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)
    except Exception as error:  # MLflow's, the database's or its driver's: they share no narrower base
        raise no_answer(uri, error) from None
    return client


def _make_database(path: Path) -> None:
    """Create MLflow's tables in a new SQLite file, and rename the file at the end.

    MLflow cannot complete tables that an interrupted process left.
    """
    # In a folder with a new name: MLflow remembers a database by its address.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder) / path.name
        MlflowClient(
            tracking_uri=f"{SQLITE}{temporary}", registry_uri=f"{SQLITE}{temporary}"
        ).search_experiments(max_results=1)
        temporary.replace(path)


def connect_existing(uri: str) -> MlflowClient:
    """Return MLflow's client of the registry at `uri`.

    Raises:
        InputError: If there is no registry.
        RegistryError: If it does not respond.
    """
    check_database(uri)
    return connect(uri)


def open_experiment(client: MlflowClient, layout: Layout, name: str) -> str:
    """Return the id of an experiment, which is made if it does not exist.

    Raises:
        InputError: If it is deleted.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        # With a database, the files are in the project. A server knows where its files belong.
        local = None if client.tracking_uri.startswith("http") else layout.runs.resolve().as_uri()
        return str(client.create_experiment(name, artifact_location=local, tags=KIND))
    if found.lifecycle_stage != "active":
        raise InputError(
            f"experiment {excerpt(name)} is deleted; restore it (mlflow experiments restore) or set "
            "register.experiment"
        )
    if not KIND.keys() & found.tags.keys():  # one of an earlier version
        for key, value in KIND.items():
            client.set_experiment_tag(found.experiment_id, key, value)
    return str(found.experiment_id)


def log_values(
    client: MlflowClient, run: str, parameters: Mapping[str, str], figures: Mapping[str, float]
) -> None:
    """Log parameters and metrics to the run of this id, in one request."""
    now = int(time.time() * 1000)
    client.log_batch(
        run,
        params=[Param(key, value) for key, value in parameters.items()],
        metrics=[Metric(key, value, now, 0) for key, value in figures.items()],
    )


def changed(uri: str, change: Callable[[], Any]) -> Any:
    """Make a change and return its result.

    While other processes change the same database, try again.

    Raises:
        InputError: If the file of the database is not writable, or its disk is full.
        RegistryError: If the change fails for another reason.
    """
    began, file = time.monotonic(), Path(uri.removeprefix(SQLITE))
    while True:
        try:
            return change()
        except MlflowException as error:
            if full := full_disk_error(error, file):
                raise full from None
            if "readonly database" in str(error):
                raise InputError(
                    f"{file} cannot be written ({error}); make it and its folder writable for this user"
                ) from None
            wait = LOCK_SECONDS if "locked" in str(error) else RACE_SECONDS
            if time.monotonic() - began > wait:
                raise no_answer(uri, error) from None
        time.sleep(0.2)


def refused(uri: str, change: Callable[[], Any]) -> bool:
    """Make a change, and return whether MLflow finds it wrong.

    Raises:
        InputError, RegistryError: As `changed` does, if the change fails for another reason.
    """

    def attempt() -> bool:
        try:
            change()
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            return True
        return False

    return bool(changed(uri, attempt))


def all_runs(client: MlflowClient, experiment: str) -> list[Run]:
    """Return all runs of an experiment, also the deleted ones."""
    found: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment], "", ViewType.ALL, RUNS_PER_REQUEST, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def describe(uri: str, name: str) -> dict[str, Any]:
    """Return all models, all experiments, and the aliases and versions of model `name`.

    The aliases are None if there is no such model.

    Raises:
        InputError: If there is no registry at `uri`.
        RegistryError: If it does not respond.
    """
    client = connect_existing(uri)
    model = find_model(client, name) if name else None
    versions = client.search_model_versions(f"name = '{name}'") if model else []
    return {
        "models": [known.name for known in client.search_registered_models()],
        "experiments": {
            known.name: known.lifecycle_stage for known in client.search_experiments(view_type=ViewType.ALL)
        },
        "aliases": aliases_of(model) if model else None,
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
    """Download the exported folder of the model at `location` into the folder `into`.

    Return its path.

    Raises:
        InputError: If its files are gone.
    """
    served = f"{location}/{SERVED}"
    try:
        if manifest.NAME not in list_artifacts(uri, served):
            raise InputError(
                f"{without_password(served)} has no {manifest.NAME}: it was moved, "
                "or is not a tokensieve model"
            )
        return Path(mlflow.artifacts.download_artifacts(served, dst_path=str(into), tracking_uri=uri))
    except (MlflowException, OSError) as error:
        raise no_answer(location, error) from None


def list_artifacts(uri: str, folder: str) -> set[str]:
    """Return the names of the files and folders in `folder`, an address of artifacts."""
    return {Path(file.path).name for file in mlflow.artifacts.list_artifacts(folder, tracking_uri=uri)}


def download_artifact(uri: str, address: str, into: Path) -> bool:
    """Download one artifact into the folder `into`. Return whether that succeeded."""
    return bool(mlflow.artifacts.download_artifacts(address, dst_path=str(into), tracking_uri=uri))


def find_model(client: MlflowClient, name: str) -> RegisteredModel | None:
    """Return a registered model. None if it does not exist."""
    found: RegisteredModel | None = none_if_missing(lambda: client.get_registered_model(name))
    return found


def none_if_missing(request: Callable[[], Any]) -> Any:
    """Return the result of a request to MLflow. None if the object that it names does not exist."""
    try:
        return request()
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def aliases_of(model: RegisteredModel) -> dict[str, str]:
    """Return the version of each alias of a model, as text. A database gives them as numbers."""
    return {alias: str(version) for alias, version in model.aliases.items()}
