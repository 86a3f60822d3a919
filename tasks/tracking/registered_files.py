"""The registry of a project, and whether the files of a registered version are complete.

Only the manifest of a version is downloaded. MLflow is imported only if nothing else can read the
registry or the files.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tokensieve.errors import InputError
from tokensieve.files import read_json_or_none
from tokensieve.inference import manifest
from tokensieve.registry import models
from tokensieve.registry.mlflow_rest import RestRegistry
from tokensieve.registry.mlflow_rest_editor import RestEditor, list_artifacts
from tokensieve.registry.store import (
    PROXIED,
    SERVED,
    SQLITE,
    ModelVersion,
    RegistryEditor,
    RegistryReader,
    local_path,
)

ELSEWHERE = (
    "its files are handed out by the MLflow server of this database; "
    "set MLFLOW_TRACKING_URI to the server's address"
)


def open_reader(uri: str, cache: Path | None = None) -> RegistryReader | None:
    """Return the registry at `uri` to read.

    None: it is an SQLite file that does not exist or is empty. Answers about a database are kept in
    the folder `cache`, until an SQLite file changes. If this process has imported MLflow, it reads
    a database itself, otherwise in a child process.
    """
    if _is_empty(uri):
        return None
    if "tasks.tracking.mlflow_client" in sys.modules and not uri.startswith(("http:", "https:")):
        from tasks.tracking.loaded_mlflow import LoadedMlflow

        return LoadedMlflow(uri, cache)
    return models.open_reader(uri, cache)


def keep_answer(uri: str, cache: Path, name: str) -> None:
    """Look a model up after a change of its registry, and keep the answer in the folder `cache`.

    The next process, for example a server, then needs no MLflow to look it up in an SQLite file.
    """
    with contextlib.suppress(InputError, OSError):  # that process looks it up itself
        if uri.startswith(SQLITE) and (reader := open_reader(uri, cache)):
            reader.aliases(name)


def open_editor(uri: str) -> RegistryEditor | None:
    """Return the registry at `uri` to change.

    None: it is an SQLite file that does not exist or is empty.

    Raises:
        RegistryError: If a database does not respond.
    """
    if _is_empty(uri):
        return None
    if uri.startswith(("http:", "https:")):
        return RestEditor(uri)
    from tasks.tracking.mlflow_editor import MlflowEditor

    return MlflowEditor(uri)


def served_manifest(registry: RegistryReader, found: ModelVersion) -> dict[str, Any] | None:
    """Return the manifest of a version.

    None: the manifest, or a file that it lists, is missing or damaged.

    Raises:
        InputError: If only another MLflow server can read the files.
        RegistryError: If the host of the files does not respond.
    """
    folder = f"{found.location}/{SERVED}"
    local = local_path(folder)
    if local:
        return _if_complete(read_json_or_none(local / manifest.NAME), lambda name: (local / name).is_file())
    with tempfile.TemporaryDirectory() as into:
        path = Path(into) / manifest.NAME
        host = registry.host_of(found.location) if isinstance(registry, RestRegistry) else None
        if host:
            names = list_artifacts(host, folder)
            is_read = manifest.NAME in names and host.copy(f"{folder}/{manifest.NAME}", path)
        elif not isinstance(registry, RestRegistry) and urlsplit(found.location).scheme == PROXIED:
            raise InputError(ELSEWHERE)
        else:
            from tasks.tracking import mlflow_client

            names = mlflow_client.list_artifacts(registry.uri, folder)
            address = f"{folder}/{manifest.NAME}"
            is_read = manifest.NAME in names and mlflow_client.download_artifact(
                registry.uri, address, path.parent
            )
        tree = read_json_or_none(path) if is_read else None
        return _if_complete(tree, lambda name: name.partition("/")[0] in names)


def copy_run_file(registry: RegistryReader, found: ModelVersion, name: str, to: Path) -> bool:
    """Copy the file `name` of a version's run to `to`. Return whether the run has it.

    Raises:
        InputError: If only another MLflow server can read the files.
        RegistryError: If the host of the files does not respond.
    """
    address = f"{found.location.rpartition('/')[0]}/{name}"
    local = local_path(address)
    if local:
        return local.is_file() and bool(shutil.copyfile(local, to))
    host = registry.host_of(found.location) if isinstance(registry, RestRegistry) else None
    if host:
        return host.copy(address, to)
    if not isinstance(registry, RestRegistry) and urlsplit(found.location).scheme == PROXIED:
        raise InputError(ELSEWHERE)
    from tasks.tracking import mlflow_client

    if to.name not in mlflow_client.list_artifacts(registry.uri, address.rpartition("/")[0]):
        return False
    return mlflow_client.download_artifact(registry.uri, address, to.parent)


def _is_empty(uri: str) -> bool:
    path = Path(uri.removeprefix(SQLITE))
    return uri.startswith(SQLITE) and not (path.exists() and path.stat().st_size)


def _if_complete(tree: Any, exists: Callable[[str], bool]) -> dict[str, Any] | None:
    if not isinstance(tree, dict) or not isinstance(tree.get("files", {}), dict):
        return None
    return tree if all(map(exists, tree.get("files", {}))) else None
