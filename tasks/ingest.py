"""Stage ingest: new data become the project's raw data, as a version under DVC and on DVC's remote.

dvc.yaml does not name this stage: it writes what the first stage there reads.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from tasks.versioning import storage_faults
from tasks.versioning.data_versions import add_version, data_hash, fetch_version, file_names
from tasks.versioning.download import FetchError, fetch, public, revealed
from tasks.versioning.dvc_repo import Repo, opened, remote_of, wait_for_lock, write
from tokensieve.data.raw_data import find_part_files, read_raw_once
from tokensieve.data.table_formats import ENDINGS, FORMATS, ending_of
from tokensieve.disk import full_disk_error
from tokensieve.errors import InputError
from tokensieve.files import atomic_folder, complete_replacement
from tokensieve.project import Layout
from tokensieve.registry.store import without_password
from tokensieve.settings import Data, Settings

log = logging.getLogger("tokensieve")


def ingest(
    layout: Layout, settings: Settings, data: str | None, test: str | None = None, origin: str = ""
) -> str:
    """Make `data` (a file, a folder or a URL) the project's raw data, as a version under DVC.

    Return its hash. Without `data`, the version is what data/raw contains now, whether somebody
    edited it or not. `origin` is then the file that the changes come from.

    Raises:
        InputError: If the data are missing or cannot be read. The present raw data then stay as
            they are.
        FetchError: If the server of a URL is down.
    """
    with opened(layout) as repo:
        if data is None:
            _restore_missing(layout, repo)
            source, found = origin or str(layout.raw), find_part_files(layout.raw)
            names = {}
            rows = count_rows(layout, found, settings.data)
        else:
            source, found = public(data), _local_files(layout, data, test, settings.data)
            rows = count_rows(layout, found, settings.data)
            names = {
                part: _file_name(path, data, test if part == "test" else None) for part, path in found.items()
            }
            _replace_raw(layout, found)
            shutil.rmtree(layout.fetched, ignore_errors=True)
        _record(layout, repo)
    add_version(layout, source, rows, names)
    return data_hash(layout)


def present_files(layout: Layout) -> dict[str, Path]:
    """Return the files of the present raw data by part, fetched if they are missing.

    Raises:
        InputError: If the project has no data, or neither cache nor remote has them.
    """
    with opened(layout) as repo:
        _restore_missing(layout, repo)
    return find_part_files(layout.raw)


def ingest_relabelled(layout: Layout, settings: Settings, found: dict[str, Path], source: str) -> str:
    """Make the files `found`, by part, the raw data: a version with corrected labels.

    It keeps the names of the users' files, and names the version before it. Return its hash.

    Raises:
        InputError: If a file cannot be read.
    """
    before, names = data_hash(layout), file_names(layout)
    rows = count_rows(layout, found, settings.data)
    with opened(layout) as repo:
        _replace_raw(layout, found)
        _record(layout, repo)
    add_version(layout, source, rows, names, before)
    return data_hash(layout)


def _restore_missing(layout: Layout, repo: Repo) -> None:
    complete_replacement(layout.raw)
    if not layout.raw.exists():
        fetch_version(layout, repo, data_hash(layout))


def _replace_raw(layout: Layout, found: dict[str, Path]) -> None:
    with atomic_folder(layout.raw) as folder:
        for name, path in found.items():
            shutil.copyfile(path, folder / f"{name}{ending_of(path)}")


def _record(layout: Layout, repo: Repo) -> None:
    write(layout, lambda: repo.add([str(layout.raw)]))
    _push(layout, repo)


def local_parts(data: str, test: str | None = None) -> dict[str, Path]:
    """Return the files of a local file or folder `data` by part. The file `test` is the part test.

    Raises:
        InputError: If nothing is there, or a file or folder is not of a known format.
    """
    path = Path(data)
    if path.is_dir():
        found = find_part_files(path)
    elif path.exists():
        found = {"train": path}
    else:
        raise InputError(
            f"--data {path} does not exist; use a {', '.join(FORMATS)} file, "
            "a folder with train and test files, or a URL"
        )
    if test is not None:
        if not Path(test).is_file():
            raise InputError(f"--test {test} is not a file; use a {', '.join(FORMATS)} file")
        found["test"] = Path(test)
    return found


def count_rows(layout: Layout, found: dict[str, Path], columns: Data) -> dict[str, int]:
    """Return the number of rows of each part's file.

    The stages read the parsed files again, and do not parse the data.

    Raises:
        InputError: If a file cannot be read.
    """
    return {
        name: len(examples)
        for name, examples in read_raw_once(found, columns, layout.parsed).checked().items()
    }


def _push(layout: Layout, repo: Repo) -> None:
    """Put the present data on the remote.

    If that fails, log it and go on: the next run tries again.
    """
    try:
        wait_for_lock(lambda: repo.push([str(layout.raw_pointer)]))
    except Exception as error:  # one of a remote's library: they share no narrower base
        if full_disk_error(error, layout.root):
            raise
        name, address = remote_of(repo)
        log.warning(
            "data version %s was not pushed to the DVC remote '%s': %s; "
            "it is in this project alone until the next run or dvc push",
            data_hash(layout),
            name or "default",
            storage_faults.reason(error, urlsplit(address).scheme),
        )


def _file_name(path: Path, data: str, test: str | None) -> str:
    """Return the name of a part's file as the user knows it.

    For a file from a URL, it is the last part of the address.
    """
    address = public(test or data)
    return address.rsplit("/", 1)[-1] if "://" in address and path.stem == "data" else path.name


def _local_files(layout: Layout, data: str, test: str | None, columns: Data) -> dict[str, Path]:
    given = {"data": data, "test": test}
    local = {
        option: _fetched(layout, address, option, columns) if address and "://" in address else address
        for option, address in given.items()
    }
    return local_parts(str(local["data"]), local["test"])


def _fetched(layout: Layout, url: str, option: str, columns: Data) -> str:
    """Return a local copy of `url`.

    For http(s) it is a file that is deleted after ingestion, otherwise an import of DVC.
    """
    url = revealed(url)
    for pointer in layout.at("data", "source").glob("*/*.dvc"):
        # Earlier versions wrote addresses with their passwords into pointers.
        if "path: http" in pointer.read_text(encoding="utf-8"):
            pointer.unlink()
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        return str(fetch(url, layout.fetched / option, f"--{option}", columns.format))
    if parts.password:
        raise InputError(
            f"--{option} {public(url)}: its password would be written to a file; "
            f"pass it as {parts.scheme}'s own client reads it"
        )
    return _imported(layout, url, option)


def _imported(layout: Layout, url: str, option: str) -> str:
    """Return a copy of `url` in data/source. DVC imports it, or updates what it imported before."""
    name = url.rstrip("/").rsplit("/", 1)[-1]
    out = layout.at("data", "source", option, name if name.lower().endswith(tuple(ENDINGS)) else "folder")
    pointer = out.with_name(f"{out.name}.dvc")
    out.parent.mkdir(parents=True, exist_ok=True)
    with opened(layout, git=False) as repo:  # git ignores data/source
        try:
            _import(repo, url, out, pointer)
        except Exception as error:  # DVC's own, or one of a remote's library
            if full_disk_error(error, layout.root):
                raise
            raise _import_error(url, option, error) from error
    return str(out)


def _import(repo: Repo, url: str, out: Path, pointer: Path) -> None:
    if pointer.exists() and yaml.safe_load(pointer.read_text(encoding="utf-8"))["deps"][0]["path"] == url:
        wait_for_lock(lambda: repo.update([str(pointer)]))
    else:
        pointer.unlink(missing_ok=True)
        wait_for_lock(lambda: repo.imp_url(url, str(out), force=True))


def _import_error(url: str, option: str, error: Exception) -> InputError:
    shown, scheme = f"--{option} {public(url)}", urlsplit(url).scheme
    if "missing dependencies" in str(error) or isinstance(error, ImportError):
        return InputError(
            f"{shown}: reading {scheme}:// needs a package that is not installed: pip install 'dvc[{scheme}]'"
        )
    reason = storage_faults.reason(error, scheme).replace(without_password(url), public(url))
    return FetchError(f"{shown} could not be fetched: {reason}")
