"""The files of a model folder, checked by the SHA-256 that its manifest lists for each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokensieve.errors import InputError, excerpt
from tokensieve.files import sha256
from tokensieve.inference.external_data import external_files, external_names

# A manifest may come from anyone, so all files that it names must be inside its folder.
FILE = r"\w[\w.-]*(/\w[\w.-]*)*"


def is_inside(name: Any) -> bool:
    """Return whether `name` is a relative path of plain names, which stays inside its folder."""
    return isinstance(name, str) and re.fullmatch(FILE, name) is not None


def are_hashes(files: Any) -> bool:
    """Return whether `files` is a JSON object with the SHA-256 of each file by its name."""
    return isinstance(files, dict) and all(
        is_inside(name) and isinstance(sha, str) for name, sha in files.items()
    )


def check_files(folder: Path, files: Mapping[str, str], listed: str) -> None:
    """Check the hashes of the files in `folder`, and that each file with weights has a hash.

    Args:
        folder: The folder of the files.
        files: The SHA-256 of each file by its name.
        listed: The name of the manifest in messages.

    Raises:
        InputError: If a file is missing, unreadable or changed, or if a graph reads weights from a
            file without a hash.
    """
    for name, expected in files.items():
        path = folder / name
        with _readable(path, listed):
            found = sha256(path)
        _refuse_other(path, found, expected, listed)
        _refuse_unlisted(name, path, external_files(path) if path.suffix == ".onnx" else (), files, listed)


def read_files(folder: Path, files: Mapping[str, str], listed: str) -> dict[str, bytes]:
    """Check files as `check_files` does, and return the bytes that were checked, by file name.

    Raises:
        InputError: If `check_files` would raise it.
    """
    found = {}
    for name, expected in files.items():
        path = folder / name
        with _readable(path, listed):
            content = path.read_bytes()
        _refuse_other(path, hashlib.sha256(content).hexdigest(), expected, listed)
        _refuse_unlisted(name, path, external_names(content) if path.suffix == ".onnx" else (), files, listed)
        found[name] = content
    return found


@contextmanager
def _readable(path: Path, listed: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise InputError(
            f"{path} is missing, though {listed} lists it; copy the whole folder again"
        ) from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); make it readable, or copy the whole folder again"
        ) from None


def _refuse_other(path: Path, found: str, expected: str, listed: str) -> None:
    if found != expected:
        raise InputError(
            f"{path} is not the file that {listed} lists (its SHA-256 differs); copy the whole folder again"
        )


def _refuse_unlisted(
    name: str, path: Path, others: Iterable[str], files: Mapping[str, str], listed: str
) -> None:
    for other in others:
        if (Path(name).parent / other).as_posix() not in files:
            raise InputError(
                f"{path} reads weights from {excerpt(other)}, which {listed} does not list; export the model "
                "again"
            )
