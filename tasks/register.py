"""Stage register: log a run of all stages in MLflow and register its model as the challenger.

The alias `challenger` names the version that was registered last, `champion` the version to serve
(`promote.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import time

from mlflow import MlflowClient, MlflowException
from mlflow.entities import Run

from tasks.artifacts import Registration
from tasks.projects import moved_project
from tasks.promotion.checks import FINGERPRINT, PROJECT
from tasks.promotion.promote import CHALLENGER, LOCK, user_name
from tasks.promotion.registered_report import report_hashes
from tasks.tracking import provenance
from tasks.tracking.log_run import MODEL, describe, log_run
from tasks.tracking.mlflow_client import aliases_of, connect, find_model, open_experiment
from tasks.tracking.registered_files import open_reader, served_manifest
from tokensieve.errors import InputError, excerpt
from tokensieve.files import sha256
from tokensieve.inference.manifest import NAME, Manifest
from tokensieve.project import Layout
from tokensieve.registry.mlflow_rest import STORAGE
from tokensieve.registry.project_identity import Identity, given_identity
from tokensieve.registry.store import ModelVersion, no_answer, tracking_uri, without_password
from tokensieve.settings import Settings

# Milliseconds after which a run that is still RUNNING counts as killed. Until then, another process
# may be logging it.
ABANDONED = 24 * 60 * 60 * 1000

log = logging.getLogger("tokensieve")


def register(layout: Layout, settings: Settings) -> Registration:
    """Log a run, register its model as the challenger, and write registration.json.

    If the registry has a finished run of the same artifacts, nothing is logged again.

    Raises:
        InputError: If an artifact is missing or damaged, the experiment is deleted, or the model's
            name is not allowed.
    """
    own = given_identity(layout, settings)
    name = own.model
    tags = {
        "data_hash": Manifest.load(layout.onnx).data_hash,
        FINGERPRINT: fingerprint(layout),
        PROJECT: own.project,
    }
    if not re.fullmatch(r"\w[\w .-]*", name):
        raise InputError(f"register.name is {excerpt(name)}; allowed: letters, digits, spaces and . _ -")
    moved_project.follow(layout, tracking_uri(layout, settings))
    client = connect(tracking_uri(layout, settings))
    experiment = open_experiment(client, layout, settings.register.experiment)
    run = _finished_run(client, experiment, tags) or _new_run(client, experiment, tags, layout, settings)
    version = _version(client, own, run, tags)
    describe(client, run, layout, name, version)
    client.set_registered_model_alias(name, CHALLENGER, version)
    registration = Registration(
        run.info.run_id, name, version, f"models:/{name}/{version}", experiment, report_hashes(layout)
    )
    registration.save(layout.registration)
    return registration


def fingerprint(layout: Layout) -> str:
    """Return the SHA-256 over the stages' artifacts.

    The exported files and the data are in it by their hashes. The validation report is not in it:
    the report depends on the champion, so each promotion would change the hash.

    Raises:
        InputError: If an artifact is missing.
    """
    artifacts = (
        layout.split / "report.json",
        layout.vocabulary / "constructs.json",
        layout.vocabulary / "report.json",
        layout.mask / "mask.safetensors",
        layout.mask / "report.json",
        layout.model / "history.jsonl",
        layout.evaluation / "report.json",
        layout.onnx / NAME,
    )
    whole = hashlib.sha256()
    for path in artifacts:
        if not path.exists():
            raise InputError(f"{path} is missing; run the stages before registration first (dvc repro)")
        whole.update(f"{path.relative_to(layout.root).as_posix()} {sha256(path)}\n".encode())
    return whole.hexdigest()


def _finished_run(client: MlflowClient, experiment: str, tags: dict[str, str]) -> Run | None:
    """Return the project's finished run of these artifacts, if its model still has its files.

    Killed runs are closed.
    """
    whole, abandoned = None, time.time() * 1000 - ABANDONED
    wanted = " and ".join(f"tags.`{key}` = '{tags[key]}'" for key in (FINGERPRINT, PROJECT))
    for run in client.search_runs([experiment], wanted):
        if run.info.status == "RUNNING" and run.info.start_time < abandoned:
            client.set_terminated(run.info.run_id, "KILLED")
        elif run.info.status == "FINISHED" and _is_whole(client, run):
            whole = run
    return whole


def _is_whole(client: MlflowClient, run: Run) -> bool:
    """Return whether a run's exported folder has its manifest and all files that it lists."""
    registry = open_reader(client.tracking_uri)
    found = ModelVersion(run.info.run_id, f"{run.info.artifact_uri}/{MODEL}", 0)
    return registry is not None and served_manifest(registry, found) is not None


def _new_run(
    client: MlflowClient, experiment: str, tags: dict[str, str], layout: Layout, settings: Settings
) -> Run:
    """Return a new run with everything logged, and the hash of dvc.lock as it is logged.

    It is FINISHED at the very end: a killed run never counts as whole.
    """
    name = given_identity(layout, settings).model
    lock = without_password(layout.lock.read_text(encoding="utf-8")) if layout.lock.exists() else ""
    origin = provenance.of_project(layout.root) | {LOCK: hashlib.sha256(lock.encode()).hexdigest()}
    origin |= {"mlflow.user": user_name(), "mlflow.source.name": "tokensieve", "mlflow.source.type": "LOCAL"}
    run = client.create_run(experiment, tags=tags | origin, run_name=name)
    try:
        log_run(client, run.info.run_id, layout, settings, tags["data_hash"])
    except BaseException as error:
        with contextlib.suppress(MlflowException):  # a server that is down
            client.set_terminated(run.info.run_id, "FAILED")
        if isinstance(error, MlflowException) and client.tracking_uri.startswith("http"):
            raise no_answer(client.tracking_uri, error, f"start it, or {STORAGE}") from None
        raise
    client.set_terminated(run.info.run_id, "FINISHED")
    return run


def _version(client: MlflowClient, own: Identity, run: Run, tags: dict[str, str]) -> str:
    """Return the registered version of a run, which is made if there is none."""
    name, model = own.model, find_model(client, own.model)
    if model is None:
        client.create_registered_model(name)
    else:
        _warn_of_sharing(client, own, aliases_of(model).get(CHALLENGER))
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
            "model '%s' is shared with project %s: alias %s moves from its version to this one; "
            "set register.name to keep them apart",
            own.model,
            other,
            CHALLENGER,
        )
