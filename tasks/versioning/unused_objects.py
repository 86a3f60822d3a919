"""Objects in DVC's cache that nothing in the project uses any more: the outputs of earlier runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tasks.versioning.data_versions import data_versions
from tasks.versioning.dvc_repo import Repo, opened, wait_for_lock
from tokensieve.errors import InputError
from tokensieve.project import Layout


def unused_objects(layout: Layout) -> list[Path]:
    """Return the objects that a stage can make again and that no file of the project names.

    Each data version in data/versions.jsonl is kept, because this may be its only copy. So is what
    any branch or tag of git names. A cache outside the project may serve other projects. From it
    nothing is returned.

    Raises:
        InputError: If DVC fails, or if a listing in the cache is damaged.
    """
    if not layout.at(".dvc").is_dir():
        return []
    with opened(layout) as repo:
        objects = Path(repo.cache.local.path)
        if Path(repo.root_dir) != layout.root or layout.root not in objects.resolve().parents:
            return []
        used = wait_for_lock(lambda: _used(repo, layout))
        needed = _with_files(objects, used)
        return [
            path
            for path in sorted(objects.glob("[0-9a-f][0-9a-f]/*"))
            if path.is_file() and path.parent.name + path.name not in needed
        ]


def _used(repo: Repo, layout: Layout) -> set[str]:
    """Return the hashes that the project's files and its data versions name."""
    with repo.lock:
        named = repo.used_objs(all_branches=True, all_tags=True)
    hashes = {found.value for group in named.values() for found in group if found.value}
    return hashes | {version.data_hash for version in data_versions(layout)}


def _with_files(objects: Path, hashes: Iterable[str]) -> set[str]:
    """Return hashes of files and folders, and those of the files in the folders.

    Raises:
        InputError: If the listing of a folder is damaged: then nobody knows which files it needs.
    """
    needed = set(hashes)
    for name in list(needed):
        listing = objects / name[:2] / name[2:]
        if name.endswith(".dir") and listing.exists():
            try:
                needed |= {row["md5"] for row in json.loads(listing.read_bytes())}
            except (ValueError, TypeError, KeyError):
                raise InputError(f"{listing}, listed by DVC, is damaged; delete it, then dvc pull") from None
    return needed
