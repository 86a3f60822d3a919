"""Whether a registered version has its files, and its manifest, without fetching the rest. MLflow is imported only if no other way
reaches them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tokensieve.errors import InputError
from tokensieve.files import read_json_or_none
from tokensieve.inference import manifest
from tokensieve.registry.mlflow_rest_editor import Editor, listing
from tokensieve.registry.mlflow_sqlite import Database
from tokensieve.registry.store import PROXIED, SERVED, SQLITE, Editable, ModelVersion, exists, local_path


def open_store(uri: str) -> Editable | None:
    """Return the registry at `uri`. None: it is an SQLite file that does not exist or is empty."""
    if uri.startswith(SQLITE):
        return Database(uri) if exists(uri) and Database(uri).is_made() else None
    if uri.startswith(("http:", "https:")):
        return Editor(uri)
    from tasks.mlflow_client import Client

    return Client(uri)


def served_manifest(store: Editable, found: ModelVersion) -> dict[str, Any] | None:
    """Return the manifest of a version. None: the manifest, or a file that it lists, is gone or broken.

    Raises:
        InputError: If only another MLflow server can read the files.
        RegistryError: If the registry gives no answer.
    """
    folder = f"{found.location}/{SERVED}"
    local = local_path(folder)
    if local:
        return _whole(read_json_or_none(local / manifest.NAME), lambda name: (local / name).is_file())
    with tempfile.TemporaryDirectory() as into:
        path = Path(into) / manifest.NAME
        server = store.holder(found.location) if isinstance(store, Editor) else None
        if server:
            names = listing(server, folder)
            read = manifest.NAME in names and server.copy(f"{folder}/{manifest.NAME}", path)
        elif isinstance(store, Database) and urlsplit(found.location).scheme == PROXIED:
            raise InputError(
                "its files are handed out by the MLflow server of this database; set MLFLOW_TRACKING_URI to the server's address"
            )
        else:
            from tasks import mlflow_client

            names = mlflow_client.listing(store.uri, folder)
            read = manifest.NAME in names and mlflow_client.fetch(
                store.uri, f"{folder}/{manifest.NAME}", path.parent
            )
        return _whole(read_json_or_none(path) if read else None, lambda name: name.partition("/")[0] in names)


def _whole(tree: Any, is_there: Any) -> dict[str, Any] | None:
    if not isinstance(tree, dict) or not isinstance(tree.get("files", {}), dict):
        return None
    return tree if all(is_there(name) for name in tree.get("files", {})) else None
