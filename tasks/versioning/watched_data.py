"""The hash of the content at an address: a file, a folder, a URL or the folder of a DVC remote."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tasks.versioning.download import FetchError, fetch, public, revealed
from tokensieve.errors import InputError
from tokensieve.files import sha256
from tokensieve.registry.store import without_password

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

REASON = 300  # characters of a store's message
LASTING = (PermissionError, NotADirectoryError, ImportError, ValueError)  # a retry does not help


def content_hash(address: str) -> str:
    """Return the hash of the content at `address`.

    A file behind http(s) is downloaded for it. Of other URLs, such as s3, the hashes that the store
    itself keeps of each file are used. Times and permissions do not matter.

    Raises:
        InputError: If nothing is there, or if it cannot be read.
        FetchError: If the server of a URL does not respond. A retry may help.
    """
    address = revealed(address)
    if "://" not in address:
        try:
            return _of_folder(Path(address))
        except PermissionError as error:
            raise InputError(
                f"{error.filename} cannot be read ({error.strerror}); make it readable for the user of this "
                "process"
            ) from None
    if urlsplit(address).scheme in ("http", "https"):
        with tempfile.TemporaryDirectory() as folder:
            # The format does not matter here, and need not be known.
            return sha256(fetch(address, Path(folder), "--data", "csv"))
    return _of_store(address)


def _of_folder(path: Path) -> str:
    if path.is_file():
        return sha256(path)
    if not path.is_dir():
        raise InputError(f"{path} does not exist; use a file, a folder or a URL")
    files = sorted(found for found in _inside(path) if found.is_file())
    return _joined((found.relative_to(path).as_posix(), sha256(found)) for found in files)


def _inside(path: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error  # a folder that cannot be read is not left out

    for folder, _, names in os.walk(path, onerror=refuse):
        yield from (Path(folder, name) for name in names)


def _of_store(address: str) -> str:
    import fsspec

    try:
        system, path = fsspec.url_to_fs(address)
        found = [(name, str(system.checksum(name))) for name in _in_store(system, path)]
    except Exception as error:  # one of a store's library: they share no narrower base
        reason = without_password(str(error).partition("\n")[0])[:REASON] or type(error).__name__
        raise (InputError if isinstance(error, LASTING) else FetchError)(
            f"{public(address)} cannot be read ({reason}); check the address and the credentials"
        ) from None
    if not found:
        raise InputError(f"{public(address)} does not exist, or is empty; use a file or a folder")
    return _joined(found)


def _in_store(system: AbstractFileSystem, path: str) -> list[str]:
    try:
        system.info(path)  # unlike `find`, it fails if the store does not respond
    except FileNotFoundError:
        return []
    return sorted(system.find(path))


def _joined(files: Iterable[tuple[str, str]]) -> str:
    """Return one hash for the names and hashes of files."""
    joined = "".join(f"{name}\0{content}\n" for name, content in files)
    # A file name need not be UTF-8.
    return hashlib.sha256(joined.encode("utf-8", "surrogateescape")).hexdigest()
