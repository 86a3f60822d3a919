"""This project in the registry: its champion, and whether its last registration is complete.

MLflow is not imported, unless only its own client reaches the registry.
"""

from __future__ import annotations

import logging
from typing import Any

from tasks.artifacts import Champion, Registration, write_if_changed
from tasks.projects import moved_project
from tasks.promotion.move_champion import CHAMPION
from tasks.promotion.promote import CHALLENGER
from tasks.tracking.registered_files import open_reader, served_manifest
from tasks.versioning.dvc_pipeline import is_unchanged
from tasks.versioning.dvc_repo import opened
from tokensieve.errors import InputError, excerpt
from tokensieve.project import Layout
from tokensieve.registry.project_identity import given_identity, identity
from tokensieve.registry.store import RegistryError, RegistryReader, tracking_uri, without_password
from tokensieve.settings import Settings

log = logging.getLogger("tokensieve")


def prepare_registry(layout: Layout, settings: Settings) -> None:
    """Check before the first stage that the last one can register.

    Hours of training may be between them. The addresses in a moved project's own registry are
    corrected, and a new project gets its identity.

    Raises:
        InputError: If the experiment of the runs is deleted.
        RegistryError: If the registry does not respond.
    """
    moved_project.follow(layout, tracking_uri(layout, settings))
    store = open_reader(tracking_uri(layout, settings), layout.served)
    if store and store.experiment(settings.register.experiment) == "deleted":
        raise InputError(
            f"experiment {excerpt(settings.register.experiment)} is deleted; "
            "restore it (mlflow experiments restore) or set register.experiment"
        )
    given_identity(layout, settings)


def note_champion(layout: Layout, settings: Settings, force: bool = False) -> None:
    """Write name, version, labels and data hash of the champion to data/champion.json.

    Validation compares new data with them. Data that were validated already are not compared again
    after a promotion, unless `force` is set.

    Raises:
        RegistryError: If the registry does not respond.
    """
    found = find_champion(layout, settings)
    if not force and layout.champion.exists():
        with opened(layout) as repo:
            if is_unchanged(layout, repo, "validate"):
                return
    if found:
        found.save(layout.champion)
    else:
        write_if_changed(layout.champion, {})


def find_champion(layout: Layout, settings: Settings) -> Champion | None:
    """Return the champion of the project's model.

    None if there is none, or if it cannot be read, which is logged.

    Raises:
        RegistryError: If the registry does not respond.
    """
    name, store = identity(layout, settings).model, open_reader(tracking_uri(layout, settings), layout.served)
    version = ((store and store.aliases(name)) or {}).get(CHAMPION)
    if not (store and version):
        return None
    fault, manifest = _read(store, name, version)
    if manifest is None:
        log.warning(
            "the champion, version %s of model '%s', %s; this run goes on without a champion; "
            "promote or roll back to another version",
            version,
            name,
            fault,
        )
        return None
    return Champion(name, version, tuple(manifest["labels"]), manifest["data_hash"])


def is_registered(layout: Layout, settings: Settings) -> bool:
    """Return whether the registry has what registration.json names. If not, log what is missing.

    Raises:
        RegistryError: If the registry does not respond.
    """
    fault = _fault(layout, settings)
    if fault:
        log.info("registering again: %s", fault)
    return not fault


def confirmed(layout: Layout, settings: Settings) -> Registration:
    """Return the registration of the present artifacts.

    Raises:
        InputError: If the registry does not have that version with its files and its alias.
    """
    fault = _fault(layout, settings)
    if fault:
        raise InputError(f"the registration cannot be confirmed: {fault}; run it again (tokensieve run)")
    return Registration.load(layout.registration)


def _fault(layout: Layout, settings: Settings) -> str:
    """Return what is missing of the registration. Empty if nothing is."""
    uri, name = tracking_uri(layout, settings), identity(layout, settings).model
    try:
        registration = Registration.load(layout.registration)
    except InputError:
        return "registration.json is missing or damaged"
    version = registration.version
    if registration.name != name:
        return f"the model is named '{name}' now, not '{registration.name}'"
    store = open_reader(uri, layout.served)
    found = store.version(name, version) if store and version.isdecimal() else None
    if store is None or found is None:
        return f"{without_password(uri)} has no version {version} of model '{name}'"
    faults = {
        f"version {version} of model '{name}' in {without_password(uri)} is of another run": found.run_id
        != registration.run_id,
        f"files of version {version} of model '{name}' are gone": served_manifest(store, found) is None,
        f"alias '{CHALLENGER}' of model '{name}' is not on version {version}": (
            store.aliases(name) or {}
        ).get(CHALLENGER)
        != version,
    }
    return next((fault for fault, holds in faults.items() if holds), "")


def _read(store: RegistryReader, name: str, version: str) -> tuple[str, dict[str, Any] | None]:
    """Return why a version cannot be read, and its manifest. The manifest is None if it cannot."""
    found = store.version(name, version)
    if found is None:
        return "was deleted", None
    try:
        tree = served_manifest(store, found)
    except RegistryError:
        raise
    except InputError as error:
        return f"cannot be read ({error})", None
    is_whole = tree is not None and tree.keys() >= {"labels", "data_hash"}
    return "has lost files", tree if is_whole else None
