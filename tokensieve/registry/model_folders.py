"""The downloaded model folders: the name of each, whether it is complete, and which are deleted."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
from pathlib import Path
from urllib.parse import quote

from tokensieve.errors import InputError
from tokensieve.inference.manifest import Manifest

UNUSED = 7 * 24 * 3600.0  # seconds after which an unused folder is deleted; it is downloaded again on demand
MAX_NAME = 120  # characters of a model's name in the name of a folder


def folder_of(into: Path, model: str, version: str, mark: str) -> Path:
    """Return the folder of a version, directly in `into`. `mark` is of its run.

    Raises:
        InputError: If the folder would not be inside `into`.
    """
    # Quoted, so that no two names share a folder and no name leads out of `into`. With the run, or
    # else a registry that was recreated at the same address would get a folder of the old one.
    name, quoted = quote(model, safe=" "), quote(mark, safe="")
    if len(name) > MAX_NAME:  # file systems allow 255 bytes
        name = f"{name[: MAX_NAME - 17]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    folder = into / f"{name}-{version}-{quoted}"
    if folder.parent != into or folder.name in ("", ".", ".."):
        raise InputError(f"{folder} is not inside {into}; check the model's name and the registry's address")
    return folder


def is_complete(folder: Path) -> bool:
    """Return whether a model folder has all its files, unchanged."""
    try:
        Manifest.load(folder)
    except InputError:
        return False
    return True


def move(fetched: Path, folder: Path, broken: Path) -> None:
    """Rename `fetched` to `folder`.

    A complete folder that another process has put there meanwhile stays.
    """
    if not is_complete(folder):
        with contextlib.suppress(FileNotFoundError):
            folder.rename(broken)
    try:
        fetched.rename(folder)
    except OSError:
        if not is_complete(folder):
            raise


def delete_unused(into: Path, used: Path) -> None:
    """Delete the folders in `into` that were not used for `UNUSED` seconds.

    A server has its model in memory.
    """
    for folder in into.iterdir():
        with contextlib.suppress(OSError):
            if folder != used and folder.is_dir() and time.time() - folder.stat().st_mtime > UNUSED:
                shutil.rmtree(folder)
