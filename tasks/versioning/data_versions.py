"""The versions of a project's raw data: list them, find the present one, restore another one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tasks.versioning import data_cache, storage_faults
from tasks.versioning.data_cache import directory_hash
from tasks.versioning.download import FetchError
from tasks.versioning.dvc_repo import Repo, opened, remote_of, root_cause, wait_for_lock, write_objects
from tokensieve.disk import full_disk_error
from tokensieve.errors import InputError, excerpt
from tokensieve.files import CONFLICT_MARKERS, atomic_folder, write_text
from tokensieve.project import Layout
from tokensieve.registry.store import without_password


@dataclass(frozen=True)
class DataVersion:
    """One version of the raw data.

    Attributes:
        data_hash: DVC's content hash.
        date: When it was added (UTC, ISO 8601).
        source: The path or the public address that it came from, and whether it was reviewed.
        rows: Rows per part.
        names: The names of the users' files per part. data/raw has them as train.csv, test.csv and
            so on.
        parent: The hash of the version that it was made from, by answers to a review. Empty: none.
    """

    data_hash: str
    date: str
    source: str
    rows: dict[str, int]
    names: dict[str, str] = field(default_factory=dict)
    parent: str = ""


def data_hash(layout: Layout) -> str:
    """Return DVC's content hash of the present raw data.

    Raises:
        InputError: If the project has no data yet.
    """
    if not layout.raw_pointer.exists():
        raise InputError(f"{layout.root} has no data yet; add some with --data PATH")
    return str(yaml.safe_load(layout.raw_pointer.read_text(encoding="utf-8"))["outs"][0]["md5"])


def data_versions(layout: Layout) -> list[DataVersion]:
    """Return the versions of the raw data, oldest first.

    Raises:
        InputError: If a line of data/versions.jsonl is not a data version.
    """
    if not layout.versions.exists():
        return []
    found: dict[str, DataVersion] = {}
    for number, line in enumerate(layout.versions.read_text(encoding="utf-8").splitlines(), 1):
        # After a git merge with conflicts, the versions of both branches count.
        if not line.strip() or line.startswith(CONFLICT_MARKERS):
            continue
        try:
            version = DataVersion(**json.loads(line))
        except (ValueError, TypeError):
            raise InputError(
                f"{layout.versions}, line {number}, is not a data version; remove the line"
            ) from None
        found.setdefault(version.data_hash, version)
    return sorted(found.values(), key=lambda version: version.date)


def find_data_version(layout: Layout, wanted: str) -> DataVersion | None:
    """Return the version of the raw data with the hash `wanted`. None if it is not listed."""
    return next((known for known in data_versions(layout) if known.data_hash == wanted), None)


def file_names(layout: Layout) -> dict[str, str]:
    """Return the names of the users' files per part, as far as the present version has them."""
    if not layout.raw_pointer.exists():
        return {}
    known = find_data_version(layout, data_hash(layout))
    return known.names if known else {}


def shown_names(layout: Layout, files: Mapping[str, Path]) -> dict[str, str]:
    """Return the names of the raw data's `files` in messages, per part: those of the users' files.

    After a review they are the paths in the project, because the users' files have other lines.
    """
    known = find_data_version(layout, data_hash(layout)) if layout.raw_pointer.exists() else None
    if known and known.parent:
        return {part: path.relative_to(layout.root).as_posix() for part, path in files.items()}
    return {part: (known.names if known else {}).get(part, path.name) for part, path in files.items()}


def reviewed_source(layout: Layout) -> str:
    """Return the source of a version with answers to a review: that of the first version before."""
    known = {version.data_hash: version for version in data_versions(layout)}
    first = data_hash(layout)
    while first in known and known[first].parent:
        first = known[first].parent
    return f"{known[first].source if first in known else first}, reviewed"


def add_version(
    layout: Layout, source: str, rows: dict[str, int], names: dict[str, str], parent: str = ""
) -> None:
    """Add the present raw data to the list of versions, unless the list has it already."""
    known, present = data_versions(layout), data_hash(layout)
    if present not in [version.data_hash for version in known]:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        known.append(DataVersion(present, now, source, rows, names, parent))
        lines = [json.dumps(_tree(version), ensure_ascii=False) + "\n" for version in known]
        write_text(layout.versions, "".join(lines))


def _tree(version: DataVersion) -> dict[str, Any]:
    """Return a version as JSON. Earlier versions of tokensieve do not know the key parent."""
    tree = asdict(version)
    return tree if version.parent else {key: value for key, value in tree.items() if key != "parent"}


def restore_version(layout: Layout, wanted: str) -> str:
    """Restore the version of the raw data whose hash begins with `wanted`.

    The files are from the cache or the remote. Return the whole hash.

    Raises:
        InputError: If no version or more than one begins so, or neither cache nor remote has it.
            The data then stay as they are.
    """
    known = [version.data_hash for version in data_versions(layout)]
    matching = [version for version in known if version.startswith(wanted)]
    if not matching and len(wanted) >= 32:
        matching = [wanted]
    if len(matching) != 1:
        raise InputError(
            f"{len(matching)} data versions begin with {excerpt(wanted)}; known: {', '.join(known) or 'none'}"
        )
    with opened(layout) as repo:
        fetch_version(layout, repo, matching[0])
    return matching[0]


def fetch_version(layout: Layout, repo: Repo, version: str) -> None:
    """Replace the raw data by those with the hash `version`.

    If this is interrupted, the present data stay.

    Raises:
        InputError: If neither cache nor remote has it, or both have damaged files.
    """
    layout.raw_pointer.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(layout.raw) as folder:
        pull_version(layout, repo, version, folder)
    write_text(layout.raw_pointer, _pointer(version))


def pull_version(layout: Layout, repo: Repo, version: str, folder: Path) -> None:
    """Write the raw data with the hash `version` into `folder`, which is in the project.

    Raises:
        InputError: If neither cache nor remote has them, or both have damaged files.
    """
    if failed := _fetch(layout, repo, version, folder):
        raise _not_found(layout, repo, version, failed) from failed
    if directory_hash(folder) != version:
        # DVC trusts its cache and its remote.
        data_cache.remove_damaged(repo, version)
        failed = _fetch(layout, repo, version, folder)
        if failed or directory_hash(folder) != version:
            raise _damaged(repo, version)


def _fetch(layout: Layout, repo: Repo, version: str, folder: Path) -> Exception | None:
    """Write the files of a data version into a folder. Return the error if that fails."""
    try:
        wait_for_lock(lambda: write_objects(repo, version, folder))
    except Exception as error:  # DVC's own, or one of a remote's library
        if full_disk_error(error, layout.root):
            raise
        return error
    return None


def _pointer(version: str) -> str:
    text: str = yaml.safe_dump({"outs": [{"md5": version, "hash": "md5", "path": "raw"}]})
    return text


def _damaged(repo: Repo, version: str) -> InputError:
    damaged = data_cache.remove_damaged(repo, version)
    # DVC pushes no file of a version whose listing is there.
    names = ", ".join(dict.fromkeys([*damaged, f"{version[:2]}/{version[2:]}"]))
    return InputError(
        f"data version {version} is damaged on the DVC remote ({without_password(remote_of(repo)[1])}); "
        f"delete there, in files/md5: {names}; then run dvc push where the data are whole, "
        "or give the data with --data PATH"
    )


def _not_found(layout: Layout, repo: Repo, version: str, error: Exception) -> InputError:
    fault, (name, address) = storage_faults.remote_error(repo, version), remote_of(repo)
    if fault:
        reason = storage_faults.reason(fault, urlsplit(address).scheme)
        return FetchError(
            f"data version {version} is not in the project's cache, and the DVC remote '{name}' "
            f"({without_password(address)}) could not be read: {reason}; "
            "then run the same command again. Or give the data with --data PATH"
        )
    known = ", ".join(known.data_hash for known in data_versions(layout)) or "none"
    return InputError(
        f"data version {version} is neither in the project's cache nor on its remote ({root_cause(error)}); "
        "if another machine has it, there: dvc remote add --default NAME URL, dvc push, "
        "and commit .dvc/config; then run the same command here again. Or add the data with --data PATH. "
        f"Known: {known}"
    )
