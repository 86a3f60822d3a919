"""What an alias or a version of an MLflow registry points at, and its served folder, without MLflow.

A server follows a model through it, so looking is cheap. Not here: changing the registry (`register.py`).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from tokensieve.disk import FULL
from tokensieve.errors import InputError, excerpt
from tokensieve.inference import manifest
from tokensieve.inference.manifest import Manifest
from tokensieve.registry.last_known import Kept, Memory
from tokensieve.registry.mlflow_process import Process
from tokensieve.registry.mlflow_rest import Server
from tokensieve.registry.mlflow_sqlite import Database
from tokensieve.registry.store import (
    NUMBER,
    PROXIED,
    SERVED,
    SQLITE,
    ModelVersion,
    RegistryError,
    Store,
    local_path,
    no_answer,
    without_password,
)

ADDRESS = rf"models:/([^/@]+)(?:@([^/@]+)|/({NUMBER}))"
UNUSED = 7 * 24 * 3600.0  # seconds after which a fetched folder goes; it is fetched again if it is asked for
FILES = 100  # that a manifest lists, at most
LONGEST = 120  # characters of a model's name in the name of a folder

log = logging.getLogger("tokensieve")


@dataclass
class Look:
    """What the last look at a registry found: the alias's version, and why it may be old."""

    version: str = ""
    stale: str | None = None


@dataclass(frozen=True)
class Registry:
    """A model of a registry: the version of `alias`, or if that is empty the version `number`. Folders are kept in `into`.

    If the registry gives no answer, the version that was fetched last for the same address and name is used, from its folder.
    """

    name: str
    alias: str
    number: str
    tracking: str
    into: Path
    _look: Look = field(default_factory=Look, init=False, compare=False, repr=False)

    @classmethod
    def of(cls, uri: str, tracking: str, into: Path) -> Registry:
        """The model that `uri`, models:/NAME@ALIAS or models:/NAME/VERSION, names in the registry at `tracking`. Asks nothing yet.

        Raises:
            InputError: another form of `uri`.
        """
        match = re.fullmatch(ADDRESS, uri)
        if not match:
            raise InputError(
                f"{excerpt(uri)} names no model version; give models:/NAME@champion or models:/NAME/VERSION"
            )
        name, alias, number = match.groups(default="")
        return cls(name, alias, number, tracking, into)

    @property
    def interval(self) -> float:
        """Seconds to wait between two looks: a server or a file answers in milliseconds, another database through a child process."""
        return 300.0 if isinstance(self._store, Process) else 5.0

    @property
    def stale(self) -> str | None:
        """Why a newer version may have been missed: the registry gives no answer. None: it answered the last question."""
        return self._look.stale

    def version(self) -> str:
        """The version that the alias points at now. If the registry gives no answer, the last one that was fetched.

        Raises:
            InputError: no such model or alias; it says which there are.
            RegistryError: the registry gives no answer, and no version was fetched before.
        """
        if self.number:
            if self.stale:
                self.fetch(self.number)
            self._memory.keep(self.number)
            return self.number
        try:
            version = self._aliased()
        except RegistryError as error:
            return self._kept(f"@{self.alias}", error).version
        self._answered()
        self._look.version = version
        self._memory.keep(version)
        return version

    def identity(self, version: str) -> str:
        """Return the name of a version's folder, which differs if the registry was made anew. A pinned version is not asked for again.

        If the registry gives no answer, it is the folder that was fetched before.

        Raises:
            InputError: If there is no such version.
            RegistryError: If the registry gives no answer, and the version was not fetched before.
        """
        if self.number:
            return ""
        kept = self._memory.recall(version) if self.stale else None
        if kept:  # asking again would wait again
            return kept.folder
        try:
            return self._folder(version, self._found(version)).name
        except RegistryError as error:
            return self._kept(version, error).folder

    def fetch(self, version: str) -> Path:
        """The served folder of a version, `into`/NAME-VERSION-RUN with the start of its run's id; one that is whole is not fetched again.

        If the registry gives no answer, it is the folder that was fetched before.

        Raises:
            InputError: no such version, or its files are gone or damaged.
            RegistryError: the registry gives no answer, or none to the end, and the version was not fetched before.
        """
        self._check_number(version)
        try:
            folder = self._fetched_now(version)
        except RegistryError as error:
            folder = self.into / self._kept(version, error).folder
            Manifest.load(folder)
            return folder
        self._answered()
        self._memory.note(version, Kept(version, folder.name))
        if self.alias and version == self._look.version:
            self._memory.note(f"@{self.alias}", Kept(version, folder.name))
        return folder

    @property
    def _store(self) -> Store:
        if self.tracking.startswith(SQLITE):
            return Database(self.tracking)
        return Server(self.tracking) if re.match(r"https?:", self.tracking) else Process(self.tracking)

    @property
    def _memory(self) -> Memory:
        return Memory(self.into, without_password(self.tracking), self.name)

    def _answered(self) -> None:
        self._look.stale = None

    def _kept(self, reference: str, error: RegistryError) -> Kept:
        """Return what was fetched last for an alias or a version. Raises `error`: If nothing was, or its folder is gone."""
        kept = self._memory.recall(reference)
        if kept is None or not (self.into / kept.folder).is_dir():
            raise error
        stale = f"version {kept.version} of model '{self.name}' is the last one known and was fetched earlier: {error}"
        if self._look.stale is None:
            log.warning("%s", stale)
        self._look.stale = stale
        return kept

    def _aliased(self) -> str:
        aliases = self._store.aliases(self.name)
        if aliases is None:
            raise self._no_model()
        if self.alias not in aliases:
            known = ", ".join(f"{name} ({version})" for name, version in sorted(aliases.items())) or "none"
            raise InputError(
                f"model '{self.name}' has no alias {excerpt(self.alias)}; aliases: {known}; versions: {self._versions()}"
            )
        return self._check_number(aliases[self.alias])

    def _check_number(self, version: str) -> str:
        """Return `version`, which becomes a part of a folder's name. Raises RegistryError: If it has anything but digits."""
        if not re.fullmatch(NUMBER, version):
            raise no_answer(
                self.tracking,
                f"version {excerpt(version)} is not a number",
                "check that the address is an MLflow server's",
            )
        return version

    def _no_model(self) -> InputError:
        return InputError(
            f"no model {excerpt(self.name)} in the registry; models: {', '.join(self._store.models()) or 'none'}"
        )

    def _versions(self) -> str:
        versions = [self._check_number(version) for version in self._store.versions(self.name)]
        return ", ".join(sorted(versions, key=int)) or "none"

    def _found(self, version: str) -> ModelVersion:
        found = self._store.version(self.name, version)
        if found is None:
            if self._store.aliases(self.name) is None:
                raise self._no_model()
            raise InputError(
                f"model '{self.name}' has no version {excerpt(version)}; versions: {self._versions()}"
            )
        return found

    def _fetched_now(self, version: str) -> Path:
        found = self._found(version)
        folder = self._folder(version, found)
        try:
            if not is_whole(folder):
                self._fetch(found, version, folder)
        except InputError:
            raise
        except OSError as error:
            raise _unwritable(self.into, error) from None
        # They only keep the folder from being deleted, which may be on a read-only disk.
        with contextlib.suppress(OSError):
            os.utime(folder)
            self._clear(folder)
        return folder

    def _folder(self, version: str, found: ModelVersion) -> Path:
        """Return the folder of a version, directly in `into`: it is replaced if it is not whole."""
        # Quoted, so that no two names share a folder and none leads out of `into`. The run, or a registry that is made
        # anew at the same address would be answered with a folder of the old one.
        name, mark = quote(self.name, safe=" "), quote(found.mark, safe="")
        if len(name) > LONGEST:  # file systems take 255 bytes
            name = f"{name[: LONGEST - 17]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        folder = self.into / f"{name}-{version}-{mark}"
        if folder.parent != self.into or folder.name in ("", ".", ".."):
            raise InputError(
                f"{folder} is not inside {self.into}; check the model's name and the registry's address"
            )
        return folder

    def _fetch(self, found: ModelVersion, version: str, folder: Path) -> None:
        """Fetch a served folder beside `folder` and rename it as a whole. One that another process put there meanwhile stays."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder.parent) as beside:
            fetched = self._fetched(found, version, Path(beside) / "fetched")
            Manifest.load(fetched)
            if not is_whole(folder):
                with contextlib.suppress(FileNotFoundError):
                    folder.rename(Path(beside) / "broken")
            try:
                fetched.rename(folder)
            except OSError:
                if not is_whole(folder):
                    raise

    def _clear(self, kept: Path) -> None:
        """Delete the folders in `into` that nobody has asked for in `UNUSED` seconds. Who serves one of them has it in memory."""
        for folder in self.into.iterdir():
            with contextlib.suppress(OSError):
                if folder != kept and folder.is_dir() and time.time() - folder.stat().st_mtime > UNUSED:
                    shutil.rmtree(folder)

    def _fetched(self, found: ModelVersion, version: str, into: Path) -> Path:
        """The folder with the manifest and the files that it lists, in or under `into`."""
        into.mkdir()
        local, store = local_path(found.location), self._store
        if local:
            copied = _copy(lambda name, to: _copy_file(local / SERVED / name, to), into)
        elif isinstance(store, Server) and (holder := store.holder(found.location)):
            copied = _copy(lambda name, to: holder.copy(f"{found.location}/{SERVED}/{quote(name)}", to), into)
        elif isinstance(store, Server) or urlsplit(found.location).scheme != PROXIED:
            return Process(self.tracking).download(found.location, into)
        else:
            raise InputError(
                f"the files of version {version} of model '{self.name}' are handed out by the MLflow server of this database; "
                "set MLFLOW_TRACKING_URI to the server's address"
            )
        if not copied:
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


def _listed(path: Path) -> list[str]:
    """The files that a manifest lists; none where it is broken, which Manifest.load puts into words. Raises InputError: one is outside."""
    try:
        names = list(json.loads(path.read_text(encoding="utf-8"))["files"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    for name in names:
        if not manifest.inside(name):
            raise InputError(
                f"{manifest.NAME} in the registry lists {excerpt(name)}, which is no file of its folder; export the model again"
            )
    if len(names) > FILES:
        raise InputError(
            f"{manifest.NAME} in the registry lists {len(names)} files, allowed: {FILES}; export the model again"
        )
    return names


def _unwritable(folder: Path, error: OSError) -> InputError:
    remedy = (
        "free some space" if error.errno in (*FULL, errno.EFBIG) else "make it writable, or start elsewhere"
    )
    return InputError(
        f"a model of the registry cannot be kept in {folder} ({error.strerror or error}); {remedy}"
    )


def is_whole(folder: Path) -> bool:
    """Return whether a served folder has all its files, unchanged."""
    try:
        Manifest.load(folder)
    except InputError:
        return False
    return True
