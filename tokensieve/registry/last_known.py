"""What was fetched last from a registry, kept beside the folders, so that a server can start while the registry gives no answer."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from tokensieve.errors import InputError
from tokensieve.files import read_json
from tokensieve.registry.store import NUMBER


@dataclass(frozen=True)
class Kept:
    """A version, and the name of the folder with its files."""

    version: str
    folder: str


@dataclass(frozen=True)
class Memory:
    """The versions of model `name` that were fetched into `folder` from the registry at `address`, by alias (@NAME) and by number."""

    folder: Path
    address: str
    name: str

    def recall(self, reference: str) -> Kept | None:
        """Return what was noted last. None: nothing, or the file is damaged."""
        try:
            tree = read_json(self._path(reference))
            kept = Kept(tree["version"], tree["folder"])
            sound = re.fullmatch(NUMBER, kept.version) and Path(kept.folder).name == kept.folder
        except (OSError, InputError, KeyError, TypeError):
            return None
        return kept if sound else None

    def note(self, reference: str, kept: Kept) -> None:
        """Remember what was fetched. On a disk that cannot be written nothing is remembered."""
        if self.recall(reference) == kept:
            return
        tree = {"registry": self.address, "model": self.name, "reference": reference} | asdict(kept)
        with (
            contextlib.suppress(OSError),
            tempfile.TemporaryDirectory(prefix=".note-", dir=self.folder) as beside,
        ):
            path = Path(beside) / "note"
            path.write_text(json.dumps(tree, ensure_ascii=False) + "\n", encoding="utf-8")
            path.replace(self._path(reference))

    def keep(self, version: str) -> None:
        """Mark the folder of a version as used now: unused ones are deleted after a while."""
        kept = self.recall(version)
        with contextlib.suppress(OSError):
            if kept:
                os.utime(self.folder / kept.folder)

    def _path(self, reference: str) -> Path:
        key = "\n".join((self.address, self.name, reference))
        return self.folder / f".known-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
