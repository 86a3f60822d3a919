"""The versions downloaded last, from which a server starts while the registry is down."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from tokensieve.files import read_json_or_none
from tokensieve.registry.store import NUMBER


@dataclass(frozen=True)
class KnownVersion:
    """A version and the name of the folder with its files."""

    version: str
    folder: str


@dataclass(frozen=True)
class LastKnownVersions:
    """The versions of a model that were downloaded last.

    The model is `name` in the registry at `address`, and the versions are in `folder`.

    Each is kept under its number and, with an alias, under @ALIAS.
    """

    folder: Path
    address: str
    name: str

    def find(self, reference: str) -> KnownVersion | None:
        """Return the version that was downloaded last for `reference`.

        If there is none, or the file is damaged, return None.
        """
        tree = read_json_or_none(self._path(reference))
        try:
            known = KnownVersion(tree["version"], tree["folder"])
            valid = re.fullmatch(NUMBER, known.version) and Path(known.folder).name == known.folder
        except (KeyError, TypeError):
            return None
        return known if valid else None

    def remember(self, reference: str, known: KnownVersion) -> None:
        """Keep the version that was downloaded for `reference`.

        On a disk that is not writable, do nothing.
        """
        if self.find(reference) == known:
            return
        tree = {"registry": self.address, "model": self.name, "reference": reference} | asdict(known)
        write_if_possible(self._path(reference), json.dumps(tree, ensure_ascii=False) + "\n")

    def mark_used(self, version: str) -> None:
        """Set the folder's time to now, because folders that are unused for long are deleted."""
        known = self.find(version)
        with contextlib.suppress(OSError):
            if known:
                os.utime(self.folder / known.folder)

    def _path(self, reference: str) -> Path:
        key = "\n".join((self.address, self.name, reference))
        return self.folder / f".known-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def write_if_possible(path: Path, text: str) -> None:
    """Write `text` atomically, also if several processes do so at once.

    On a disk that is not writable, do nothing.
    """
    with (
        contextlib.suppress(OSError),
        tempfile.TemporaryDirectory(prefix=".note-", dir=path.parent) as folder,
    ):
        temporary = Path(folder) / path.name
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
