"""Inputs outside data/raw: the base model and the project's own suite of expectations.

Stages read files with their hashes, so that DVC notices a change.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from tasks.artifacts import write_if_changed
from tokensieve.files import sha256
from tokensieve.project import Layout
from tokensieve.settings import Settings, base_folders


def note_base(layout: Layout, settings: Settings) -> None:
    """Write data/base.json: other weights may be put into a folder without a new name.

    Its keys: `model`, the setting, and `sha256` over all files of the folder (None for a model of
    the hub).
    """
    folder = next(filter(Path.is_dir, base_folders(settings.base.model, layout.root)), None)
    content = _hash_of_files(folder) if folder else None
    write_if_changed(layout.base, {"model": settings.base.model, "sha256": content})


def note_suite(layout: Layout, settings: Settings) -> None:
    """Write data/suite.json: the SHA-256 of validate.suite, None if there is no such file."""
    path = layout.root / (settings.validate.suite or "")
    write_if_changed(layout.suite, {"sha256": sha256(path) if path.is_file() else None})


def _hash_of_files(folder: Path) -> str | None:
    """Return the SHA-256 over the names and hashes of all files of a folder; None without files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{path.relative_to(folder).as_posix()} {sha256(path)}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest() if files else None
