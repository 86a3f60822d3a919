"""What an alias or a version of an MLflow registry points at, and its served folder, without MLflow.

A server follows a model through it, so looking is cheap. Not here: changing the registry (`tracking.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from tasks.database import Database
from tasks.elsewhere import Process
from tasks.rest import Server
from tasks.store import SERVED, SQLITE, ModelVersion, Store
from tokensieve import manifest
from tokensieve.errors import InputError, excerpt
from tokensieve.manifest import Manifest

ADDRESS = r"models:/([^/@]+)(?:@([^/@]+)|/([1-9][0-9]{0,9}))"
# A manifest comes from the registry: no file that it names may lie outside its folder.
FILE = r"\w[\w.-]*(/\w[\w.-]*)*"
UNUSED = 7 * 24 * 3600.0  # seconds after which a fetched folder goes; it is fetched again if it is asked for


@dataclass(frozen=True)
class Registry:
    """A model of a registry: the version of `alias`, or where that is empty the version `number`. Folders are kept in `into`."""

    name: str
    alias: str
    number: str
    tracking: str
    into: Path

    @classmethod
    def of(cls, uri: str, tracking: str, into: Path) -> Registry:
        """The model that `uri`, models:/NAME@ALIAS or models:/NAME/VERSION, names in the registry at `tracking`. Asks nothing yet.

        Raises:
            InputError: another form of `uri`.
        """
        match = re.fullmatch(ADDRESS, uri)
        if not match:
            raise InputError(f"{excerpt(uri)} names no model version; give models:/NAME@champion or models:/NAME/VERSION")
        name, alias, number = match.groups(default="")
        return cls(name, alias, number, tracking, into)

    @property
    def interval(self) -> float:
        """Seconds to wait between two looks: a server or a file answers in milliseconds, another database through a child process."""
        return 300.0 if isinstance(self._store, Process) else 5.0

    def version(self) -> str:
        """The version that the alias points at now.

        Raises:
            InputError: no such model or alias; it says which there are.
            RegistryError: the registry gives no answer.
        """
        if self.number:
            return self.number
        aliases = self._store.aliases(self.name)
        if aliases is None:
            raise self._no_model()
        if self.alias not in aliases:
            known = ", ".join(f"{name} ({version})" for name, version in sorted(aliases.items())) or "none"
            raise InputError(f"model '{self.name}' has no alias {excerpt(self.alias)}; aliases: {known}; versions: {self._versions()}")
        return aliases[self.alias]

    def fetch(self, version: str) -> Path:
        """The served folder of a version, `into`/NAME-VERSION-RUN with the start of its run's id; one that is whole is not fetched again.

        Raises:
            InputError: no such version, or its files are gone or damaged.
            RegistryError: the registry gives no answer, or none to the end.
        """
        found = self._store.version(self.name, version)
        if found is None:
            if self._store.aliases(self.name) is None:
                raise self._no_model()
            raise InputError(f"model '{self.name}' has no version {excerpt(version)}; versions: {self._versions()}")
        # Quoted, so that no two names share a folder and none leads out of `into`. The run, or a registry that is made
        # anew at the same address would be answered with a folder of the old one.
        folder = self.into / f"{quote(self.name, safe=' ')}-{version}-{quote(found.mark, safe='')}"
        if not _whole(folder):
            self._fetch(found, version, folder)
        os.utime(folder)
        self._clear(folder)
        return folder

    @property
    def _store(self) -> Store:
        if self.tracking.startswith(SQLITE):
            return Database(self.tracking)
        return Server(self.tracking) if re.match(r"https?:", self.tracking) else Process(self.tracking)

    def _no_model(self) -> InputError:
        return InputError(f"no model {excerpt(self.name)} in the registry; models: {', '.join(self._store.models()) or 'none'}")

    def _versions(self) -> str:
        return ", ".join(map(str, sorted(map(int, self._store.versions(self.name))))) or "none"

    def _fetch(self, found: ModelVersion, version: str, folder: Path) -> None:
        """Fetch a served folder beside `folder` and rename it as a whole. One that another process put there meanwhile stays."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder.parent) as beside:
            fetched = self._fetched(found, version, Path(beside) / "fetched")
            Manifest.load(fetched)
            if not _whole(folder):
                with contextlib.suppress(FileNotFoundError):
                    folder.rename(Path(beside) / "broken")
            try:
                fetched.rename(folder)
            except OSError:
                if not _whole(folder):
                    raise

    def _clear(self, kept: Path) -> None:
        """Delete the folders in `into` that nobody has asked for in `UNUSED` seconds. Who serves one of them has it in memory."""
        for folder in self.into.iterdir():
            with contextlib.suppress(OSError):
                if folder != kept and time.time() - folder.stat().st_mtime > UNUSED:
                    shutil.rmtree(folder)

    def _fetched(self, found: ModelVersion, version: str, into: Path) -> Path:
        """The folder with the manifest and the files that it lists, in or under `into`."""
        into.mkdir()
        local, store = _local(found.location), self._store
        if local:
            whole = _copy(lambda name, to: _copy_file(local / SERVED / name, to), into)
        elif isinstance(store, Server) and store.proxies(found.location):
            whole = _copy(lambda name, to: store.copy(f"{found.location}/{SERVED}/{quote(name)}", to), into)
        elif isinstance(store, Server) or urlsplit(found.location).scheme != "mlflow-artifacts":
            return Process(self.tracking).download(self.name, version, into)
        else:
            raise InputError(
                f"the files of version {version} of model '{self.name}' are handed out by the MLflow server of this database; "
                "set MLFLOW_TRACKING_URI to the server's address"
            )
        if not whole:
            raise InputError(
                f"version {version} of model '{self.name}' holds no {manifest.NAME}: its files were moved, or are not of tokensieve"
            )
        return into


def _copy(read: Callable[[str, Path], bool], into: Path) -> bool:
    """Copy the manifest and the files that it lists with `read`, which returns whether there is one. False: there is no manifest."""
    if not read(manifest.NAME, into / manifest.NAME):
        return False
    for name in _listed(into / manifest.NAME):
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        read(name, into / name)  # one that is not there is named by Manifest.load
    return True


def _copy_file(path: Path, to: Path) -> bool:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        shutil.copyfile(path, to)
        return True
    return False


def _local(location: str) -> Path | None:
    """The path of a location on this machine, whether a path or a file: URI; None for any other."""
    parts = urlsplit(location)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(location) if location.startswith("/") else None


def _listed(path: Path) -> list[str]:
    """The files that a manifest lists; none where it is broken, which Manifest.load puts into words. Raises InputError: one is outside."""
    try:
        names = list(json.loads(path.read_text(encoding="utf-8"))["files"])
    except (ValueError, KeyError, TypeError):
        return []
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(FILE, name):
            raise InputError(
                f"{manifest.NAME} in the registry lists {excerpt(name)}, which is no file of its folder; export the model again"
            )
    return names


def _whole(folder: Path) -> bool:
    try:
        Manifest.load(folder)
    except InputError:
        return False
    return True
