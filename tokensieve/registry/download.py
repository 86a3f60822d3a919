"""Copy the model folder of a registered version: the manifest and the files that it lists."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlsplit

from tokensieve.errors import InputError, excerpt
from tokensieve.inference import manifest
from tokensieve.inference.listed_files import is_inside
from tokensieve.registry.mlflow_process import MlflowProcess
from tokensieve.registry.mlflow_rest import RestRegistry
from tokensieve.registry.store import PROXIED, SERVED, ModelVersion, RegistryReader, local_path

FILES = 100  # files that a manifest may list


def download(registry: RegistryReader, found: ModelVersion, title: str, into: Path) -> Path:
    """Download the model folder of the version `found` into the new folder `into`.

    Args:
        registry: The registry of the version.
        found: The version.
        title: The name of the version in messages.
        into: A folder that does not exist yet.

    Returns:
        The folder with the manifest, `into` or one in it.

    Raises:
        InputError: If the files are gone, or only another MLflow server can read them.
        RegistryError: If the host of the files does not respond.
    """
    into.mkdir()
    location, local = found.location, local_path(found.location)
    if local:
        copied = _copy(lambda name, to: _copy_file(local / SERVED / name, to), into)
    elif isinstance(registry, RestRegistry) and (host := registry.host_of(location)):
        copied = _copy(lambda name, to: host.copy(f"{location}/{SERVED}/{quote(name)}", to), into)
    elif isinstance(registry, RestRegistry) or urlsplit(location).scheme != PROXIED:
        return MlflowProcess(registry.uri).download(location, into)
    else:
        raise InputError(
            f"the files of {title} are handed out by the MLflow server of this database; "
            "set MLFLOW_TRACKING_URI to the server's address"
        )
    if not copied:
        raise InputError(
            f"{title} has no {manifest.NAME}: its files were moved, or it was not made by tokensieve"
        )
    return into


def _copy(read: Callable[[str, Path], bool], into: Path) -> bool:
    """Copy the manifest and the files that it lists.

    `read` copies one file, and returns whether it exists.

    Returns:
        Whether there is a manifest.
    """
    if not read(manifest.NAME, into / manifest.NAME):
        return False
    for name in _listed_files(into / manifest.NAME):
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        read(name, into / name)  # Manifest.load refuses the folder if one is missing
    return True


def _copy_file(path: Path, to: Path) -> bool:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        shutil.copyfile(path, to)
        return True
    return False


def _listed_files(path: Path) -> list[str]:
    """Return the files that a manifest lists.

    For a damaged manifest there are none, and `Manifest.load` refuses it later.

    Raises:
        InputError: If a file is outside the folder, or if there are too many.
    """
    try:
        names = list(json.loads(path.read_text(encoding="utf-8"))["files"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    for name in names:
        if not is_inside(name):
            raise InputError(
                f"{manifest.NAME} in the registry lists {excerpt(name)}, which is no file of its folder; "
                "export the model again"
            )
    if len(names) > FILES:
        raise InputError(
            f"{manifest.NAME} in the registry lists {len(names)} files, allowed: {FILES}; export the model "
            "again"
        )
    return names
