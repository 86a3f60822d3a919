"""A model of an MLflow registry: the version that an alias names now, and its model folder.

Servers poll often, so a lookup is cheap and needs no MLflow for a registry behind http(s). Nothing
here changes a registry.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import tempfile
from pathlib import Path

from tokensieve.disk import os_error_remedy
from tokensieve.errors import InputError, excerpt
from tokensieve.inference.manifest import Manifest
from tokensieve.project import Layout
from tokensieve.registry.download import download
from tokensieve.registry.last_known import KnownVersion, LastKnownVersions
from tokensieve.registry.mlflow_process import MlflowProcess
from tokensieve.registry.mlflow_rest import RestRegistry
from tokensieve.registry.model_folders import delete_unused, folder_of, is_complete, move
from tokensieve.registry.store import (
    NUMBER,
    SQLITE,
    ModelVersion,
    RegistryError,
    RegistryReader,
    no_answer,
    tracking_uri,
    without_password,
)
from tokensieve.settings import Settings

ADDRESS = rf"models:/([^/@]+)(?:@([^/@]+)|/({NUMBER}))"

log = logging.getLogger("tokensieve")


class RegisteredModel:
    """The version of a registered model that an alias names, or the version of a fixed number.

    If the registry does not respond, the version that was downloaded last is used, from its folder.
    """

    def __init__(self, address: str, registry: str, into: Path) -> None:
        """Name a version. The registry is not contacted yet.

        Args:
            address: models:/NAME@ALIAS or models:/NAME/VERSION.
            registry: The address of the registry.
            into: The folder in which model folders are kept.

        Raises:
            InputError: If `address` has another form.
        """
        match = re.fullmatch(ADDRESS, address)
        if not match:
            raise InputError(
                f"{excerpt(address)} names no model version; give models:/NAME@champion or "
                "models:/NAME/VERSION"
            )
        self.name, self.alias, self.number = match.groups(default="")
        self.registry, self.into = registry, into
        self.stale: str | None = None  # why a newer version may be missed; None: the registry responds
        self._version = ""  # that the alias named last
        self._reader = open_reader(registry, into)
        self._known = LastKnownVersions(into, without_password(registry), self.name)

    @property
    def interval(self) -> float:
        """Seconds between two lookups.

        They are cheap for a server and an SQLite file, not for another database.
        """
        return 5.0 if isinstance(self._reader, RestRegistry) or self.registry.startswith(SQLITE) else 300.0

    def version(self) -> str:
        """Return the version that the alias names now.

        If the registry does not respond, it is the version that was downloaded last.

        Raises:
            InputError: If there is no such model or alias. The message lists those that exist.
            RegistryError: If the registry does not respond and no version was downloaded before.
        """
        if self.number:
            if self.stale:
                self.fetch(self.number)
            self._known.mark_used(self.number)
            return self.number
        try:
            version = self._aliased_version()
        except RegistryError as error:
            return self._last_known(f"@{self.alias}", error).version
        self.stale = None
        self._version = version
        self._known.mark_used(version)
        return version

    def identity(self, version: str) -> str:
        """Return the name of a version's folder, which differs if the registry was recreated.

        For a fixed number the registry is not queried again. If the registry does not respond, it
        is the folder of the last download.

        Raises:
            InputError: If there is no such version.
            RegistryError: If the registry does not respond and the version was not downloaded
                before.
        """
        if self.number:
            return ""
        known = self._known.find(version) if self.stale else None
        if known:  # another question would wait again
            return known.folder
        try:
            return folder_of(self.into, self.name, version, self._find(version).mark).name
        except RegistryError as error:
            return self._last_known(version, error).folder

    def fetch(self, version: str) -> Path:
        """Return the model folder of a version, `into`/NAME-VERSION-RUN.

        RUN is the first digits of the id of its run. A complete folder is not downloaded again. If
        the registry does not respond, it is the folder of the last download.

        Raises:
            InputError: If there is no such version, or its files are gone or damaged.
            RegistryError: If the registry does not respond and the version was not downloaded
                before.
        """
        self._check_number(version)
        try:
            folder = self._fetch(version)
        except RegistryError as error:
            folder = self.into / self._last_known(version, error).folder
            Manifest.load(folder)
            return folder
        self.stale = None
        self._known.remember(version, KnownVersion(version, folder.name))
        if self.alias and version == self._version:
            self._known.remember(f"@{self.alias}", KnownVersion(version, folder.name))
        return folder

    def _last_known(self, reference: str, error: RegistryError) -> KnownVersion:
        """Return the last download for an alias or a number.

        Raises:
            RegistryError: It is `error`, if there is none or its folder is gone.
        """
        known = self._known.find(reference)
        if known is None or not (self.into / known.folder).is_dir():
            raise error
        stale = (
            f"version {known.version} of model '{self.name}' is the last one known and was fetched earlier: "
            f"{error}"
        )
        if self.stale is None:
            log.warning("%s", stale)
        self.stale = stale
        return known

    def _aliased_version(self) -> str:
        aliases = self._reader.aliases(self.name)
        if aliases is None:
            raise self._no_model()
        if self.alias not in aliases:
            known = ", ".join(f"{name} ({version})" for name, version in sorted(aliases.items())) or "none"
            raise InputError(
                f"model '{self.name}' has no alias {excerpt(self.alias)}; aliases: {known}; versions: "
                f"{self._versions()}"
            )
        return self._check_number(aliases[self.alias])

    def _check_number(self, version: str) -> str:
        """Return `version`, which becomes a part of a folder's name.

        Raises:
            RegistryError: If it has anything but digits.
        """
        if not re.fullmatch(NUMBER, version):
            reason = f"version {excerpt(version)} is not a number"
            raise no_answer(self.registry, reason, "check that the address is an MLflow server's")
        return version

    def _no_model(self) -> InputError:
        models = ", ".join(self._reader.models()) or "none"
        return InputError(f"no model {excerpt(self.name)} in the registry; models: {models}")

    def _versions(self) -> str:
        versions = [self._check_number(version) for version in self._reader.versions(self.name)]
        return ", ".join(sorted(versions, key=int)) or "none"

    def _find(self, version: str) -> ModelVersion:
        found = self._reader.version(self.name, version)
        if found is None:
            if self._reader.aliases(self.name) is None:
                raise self._no_model()
            raise InputError(
                f"model '{self.name}' has no version {excerpt(version)}; versions: {self._versions()}"
            )
        return found

    def _fetch(self, version: str) -> Path:
        found = self._find(version)
        folder = folder_of(self.into, self.name, version, found.mark)
        try:
            if not is_complete(folder):
                title = f"version {version} of model '{self.name}'"
                folder.parent.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(prefix=".download-", dir=folder.parent) as temporary:
                    fetched = download(self._reader, found, title, Path(temporary) / "fetched")
                    Manifest.load(fetched)
                    move(fetched, folder, Path(temporary) / "broken")
        except InputError:
            raise
        except OSError as error:
            reason, remedy = error.strerror or error, os_error_remedy(error)
            raise InputError(
                f"a model of the registry cannot be kept in {self.into} ({reason}); {remedy}"
            ) from None
        # They only keep the folder from being deleted. The disk may be read-only.
        with contextlib.suppress(OSError):
            os.utime(folder)
            delete_unused(self.into, folder)
        return folder


def fetch_version(address: str, project: Path = Path()) -> Path:
    """Return the model folder of a registered version, downloaded if necessary.

    Args:
        address: models:/NAME@ALIAS or models:/NAME/VERSION.
        project: Its settings name the registry, unless MLFLOW_TRACKING_URI does. Folders are kept
            in its `.tokensieve`.

    Raises:
        InputError: If there is no such version, or its files are gone or damaged.
        RegistryError: If the registry does not respond and the version was not downloaded before.
    """
    layout = Layout(project.resolve())
    settings = Settings.load(layout.params) if layout.params.exists() else Settings()
    model = RegisteredModel(address, tracking_uri(layout, settings), layout.served)
    return model.fetch(model.version())


def open_reader(registry: str, cache: Path | None = None) -> RegistryReader:
    """Return the client that reads the registry at an address.

    It uses REST for http(s), otherwise MLflow's client in a child process. Answers of the child
    process are kept in the folder `cache`.
    """
    return RestRegistry(registry) if re.match(r"https?:", registry) else MlflowProcess(registry, cache)
