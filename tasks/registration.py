"""What a project has in the registry: its champion, and whether its last registration is still there. MLflow is not imported."""

from __future__ import annotations

import logging
from typing import Any

from tasks.project_identity import identity
from tasks.promote import CHALLENGER, CHAMPION
from tasks.registered_files import open_store, served_manifest
from tokensieve.errors import InputError, excerpt
from tokensieve.files import read_json
from tokensieve.project import Layout
from tokensieve.registry.store import Editable, RegistryError, tracking_uri, without_password
from tokensieve.settings import Settings

log = logging.getLogger("tokensieve")


def champion(layout: Layout, settings: Settings) -> dict[str, Any]:
    """Return name, version, labels and data hash of the champion. Empty: there is none, or none that can be read, which is logged.

    Raises:
        RegistryError: If the registry gives no answer.
    """
    name, store = identity(layout, settings).model, open_store(tracking_uri(layout, settings))
    version = ((store and store.aliases(name)) or {}).get(CHAMPION)
    if not (store and version):
        return {}
    fault, tree = _read(store, name, version)
    if tree is None:
        log.warning(
            "the champion, version %s of model '%s', %s; this run goes on as if there were none; promote or roll back to another version",
            version,
            name,
            fault,
        )
        return {}
    return {"name": name, "version": version, "labels": tree["labels"], "data_hash": tree["data_hash"]}


def check_experiment(layout: Layout, settings: Settings) -> None:
    """Raise InputError if the experiment of the runs is deleted: nothing could be registered after hours of training."""
    store = open_store(tracking_uri(layout, settings))
    if store and store.experiment(settings.register.experiment) == "deleted":
        raise InputError(
            f"experiment {excerpt(settings.register.experiment)} is deleted; restore it (mlflow experiments restore) "
            "or set register.experiment"
        )


def is_registered(layout: Layout, settings: Settings) -> bool:
    """Return whether the registry has what registration.json names. If not, log what it lacks.

    Raises:
        RegistryError: If the registry gives no answer.
    """
    fault = _fault(layout, settings)
    if fault:
        log.info("registers again: %s", fault)
    return not fault


def confirmed(layout: Layout, settings: Settings) -> dict[str, str]:
    """Return registration.json, which a summary names.

    Raises:
        InputError: If the registry does not have that version, with its files, under its alias.
    """
    fault = _fault(layout, settings)
    if fault:
        raise InputError(f"the registration cannot be confirmed: {fault}; run it again (tokensieve run)")
    registration: dict[str, str] = read_json(layout.registration / "registration.json")
    return registration


def _fault(layout: Layout, settings: Settings) -> str:
    """Return what the registry lacks of the registration; empty if nothing."""
    uri, name = tracking_uri(layout, settings), identity(layout, settings).model
    try:
        registration = read_json(layout.registration / "registration.json")
        known, version, run = (str(registration[key]) for key in ("name", "version", "run_id"))
    except (OSError, ValueError, LookupError, TypeError):
        return "registration.json is missing or broken"
    if known != name:
        return f"the model is named '{name}' now, not '{known}'"
    store = open_store(uri)
    found = store.version(name, version) if store and version.isdecimal() else None
    if store is None or found is None:
        return f"{without_password(uri)} has no version {version} of model '{name}'"
    faults = {
        f"version {version} of model '{name}' in {without_password(uri)} is of another run": found.run_id
        != run,
        f"files of version {version} of model '{name}' are gone": served_manifest(store, found) is None,
        f"alias '{CHALLENGER}' of model '{name}' is not on version {version}": (
            store.aliases(name) or {}
        ).get(CHALLENGER)
        != version,
    }
    return next((fault for fault, holds in faults.items() if holds), "")


def _read(store: Editable, name: str, version: str) -> tuple[str, dict[str, Any] | None]:
    """Return what keeps a version from being read, and its manifest."""
    found = store.version(name, version)
    if found is None:
        return "was deleted", None
    try:
        tree = served_manifest(store, found)
    except RegistryError:
        raise
    except InputError as error:
        return f"cannot be read ({error})", None
    whole = tree if tree and tree.keys() >= {"labels", "data_hash"} else None
    return "has lost files", whole
