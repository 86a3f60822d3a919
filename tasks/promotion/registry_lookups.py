"""Open the registry of a project, and look up its model, aliases and versions.

The error for a missing one lists those that exist.
"""

from __future__ import annotations

import re

from tasks.projects import moved_project
from tasks.tracking.registered_files import open_editor
from tokensieve.errors import InputError, excerpt
from tokensieve.project import Layout
from tokensieve.registry.store import NUMBER, ModelVersion, RegistryEditor, check_database, tracking_uri
from tokensieve.settings import Settings


def open_registry(layout: Layout, settings: Settings) -> RegistryEditor:
    """Return the project's registry.

    Raises:
        InputError: If there is none.
    """
    uri = tracking_uri(layout, settings)
    moved_project.follow(layout, uri)
    check_database(uri)
    store = open_editor(uri)
    if store is None:
        raise InputError(
            f"{uri} is empty; run tokensieve run first, or set register.uri or MLFLOW_TRACKING_URI"
        )
    return store


def existing_aliases(store: RegistryEditor, name: str) -> dict[str, str]:
    """Return the version of each alias of a model.

    Raises:
        InputError: If there is no such model.
    """
    aliases = store.aliases(name)
    if aliases is None:
        raise InputError(
            f"no model {excerpt(name)} in the registry; models: {', '.join(store.models()) or 'none'}"
        )
    return aliases


def existing_version(store: RegistryEditor, name: str, number: str) -> ModelVersion:
    """Return a version.

    Raises:
        InputError: If there is no such version, or if its number is not written as the registry
            writes numbers: the record names versions so.
    """
    if not re.fullmatch(NUMBER, number):
        raise InputError(
            f"version is {excerpt(number)}; allowed: digits 0 to 9, at most ten, the first not 0; "
            f"versions of model '{name}': {known_versions(store, name)}"
        )
    found = store.version(name, number)
    if found is None:
        raise InputError(
            f"model '{name}' has no version {excerpt(number)}; versions: {known_versions(store, name)}"
        )
    return found


def known_versions(store: RegistryEditor, name: str) -> str:
    """Return the numbers of a model's versions as a text."""
    return ", ".join(map(str, sorted(map(int, store.versions(name))))) or "none"
