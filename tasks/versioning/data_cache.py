"""Compare restored data with their hash: DVC trusts the names in its cache and remote."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from tasks.versioning.dvc_repo import Repo


def directory_hash(folder: Path) -> str:
    """Return the hash that DVC gives the files of a folder: MD5 over their names and MD5 hashes."""
    rows = [
        {"md5": _md5(path), "relpath": path.relative_to(folder).as_posix()}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    rows.sort(key=lambda row: row["relpath"])
    return f"{hashlib.md5(json.dumps(rows, sort_keys=True).encode()).hexdigest()}.dir"


def remove_damaged(repo: Repo, version: str) -> list[str]:
    """Remove the damaged files of a data version from the cache.

    A file is damaged if its content does not have the hash of its name. Return their names in the
    cache.
    """
    objects = Path(repo.cache.local.path)
    listing = _path(objects, version)
    names = [version]
    # It may be missing, or damaged itself.
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        names += [row["md5"] for row in json.loads(listing.read_bytes())]
    damaged = []
    for name in names:
        path = _path(objects, name)
        if path.is_file() and _md5(path) != name.removesuffix(".dir"):
            path.unlink()
            damaged.append(path.relative_to(objects).as_posix())
    return damaged


def _path(objects: Path, name: str) -> Path:
    return objects / name[:2] / name[2:]


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
