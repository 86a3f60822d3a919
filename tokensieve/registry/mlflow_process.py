"""A registry in a database, read by MLflow's own client in a child process.

So this process stays small. A query takes a few seconds, for the import of MLflow. Answers from an
SQLite file are kept until the file changes, in memory and on the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tokensieve import packages
from tokensieve.errors import InputError
from tokensieve.files import read_json_or_none
from tokensieve.registry.last_known import write_if_possible
from tokensieve.registry.store import (
    SQLITE,
    ModelVersion,
    RegistryError,
    check_database,
    no_answer,
    present_location,
    text_of,
    well_formed,
    without_password,
)

CHILD = "tasks.tracking.mlflow_child"
LOOKUP, DOWNLOAD = 120.0, 1800.0  # seconds
# MLflow would send these to the host of an artifact, whichever host that is.
CREDENTIALS = {
    f"MLFLOW_TRACKING_{name}"
    for name in ("URI", "USERNAME", "PASSWORD", "TOKEN", "AUTH", "AWS_SIGV4", "CLIENT_CERT_PATH")
} | {"MLFLOW_REGISTRY_URI"}

FileState = list[
    list[int]
]  # inode, time of the last change and size of a database and of its write-ahead log


class MlflowProcess:
    """The registry at `uri`, read by MLflow's client in a child process.

    It is a `store.RegistryReader`.
    """

    def __init__(self, uri: str, cache: Path | None = None) -> None:
        """Read the registry at `uri`. The folder `cache` keeps answers for the next process."""
        self.uri = uri
        self._cache = cache
        self._answers: dict[str, tuple[FileState, dict[str, Any]]] = {}

    def models(self) -> list[str]:
        with well_formed(self.uri, "list of models"):
            return [text_of(name) for name in self._describe("")["models"]]

    def aliases(self, name: str) -> dict[str, str] | None:
        with well_formed(self.uri, "model"):
            aliases = self._describe(name)["aliases"]
            return (
                None if aliases is None else {text_of(key): text_of(value) for key, value in aliases.items()}
            )

    def versions(self, name: str) -> list[str]:
        with well_formed(self.uri, "list of versions"):
            return [text_of(number) for number in self._describe(name)["versions"]]

    def version(self, name: str, number: str) -> ModelVersion | None:
        with well_formed(self.uri, "version"):
            found = self._describe(name)["versions"].get(number)
            return found and ModelVersion(
                text_of(found["run_id"]),
                present_location(self.uri, text_of(found["location"])),
                int(found["created"]),
            )

    def experiment(self, name: str) -> str | None:
        with well_formed(self.uri, "list of experiments"):
            stage = self._describe("")["experiments"].get(name)
            return None if stage is None else text_of(stage)

    def download(self, location: str, into: Path) -> Path:
        """Download the model folder at `location` into the folder `into` and return its path.

        The child gets no credentials of the registry: `location` comes from the registry and may
        name any host.

        Raises:
            InputError: If there is no model folder at `location`, or MLflow is not installed.
            RegistryError: If the host does not respond.
        """
        question = {
            "ask": "download",
            "uri": without_password(self.uri),
            "location": location,
            "into": str(into.resolve()),
        }
        environment = {key: value for key, value in os.environ.items() if key not in CREDENTIALS}
        if urlsplit(location).scheme in ("http", "https"):
            environment["HOME"] = str(into.resolve())  # MLflow would read ~/.mlflow/credentials
        with well_formed(self.uri, "answer"):
            return Path(text_of(self._ask(question, DOWNLOAD, environment)["folder"]))

    def describe(self, name: str) -> dict[str, Any]:
        """Return what MLflow's client answers about the model `name`: its aliases, versions and
        more.

        Raises:
            InputError: If there is no registry, or MLflow is not installed.
            RegistryError: If the registry does not respond.
        """
        return self._ask({"ask": "describe", "uri": self.uri, "name": name}, LOOKUP)

    def _describe(self, name: str) -> dict[str, Any]:
        """Return what `describe` returns: an earlier answer if the SQLite file has not changed."""
        check_database(self.uri)
        state = _file_state(self.uri)
        for known in (self._answers.get(name), self._read_cache(name)) if state else ():
            if known and known[0] == state:
                self._answers[name] = known
                return known[1]
        if state and not state[0][-1]:
            raise no_answer(self.uri, "the file is empty", "register a model first")
        answer = self.describe(name)
        # The state was read before the question: a change in between is noticed at the next one.
        # Every answer has the lists of models and experiments, for which the name is empty.
        for key, own in {"": answer | {"aliases": None, "versions": {}}, name: answer}.items():
            self._answers[key] = (state, own)
            if state and self._cache:
                self._write_cache(key, state, own)
        return answer

    def _read_cache(self, name: str) -> tuple[FileState, dict[str, Any]] | None:
        found = read_json_or_none(self._cache_path(name)) if self._cache else None
        if not isinstance(found, dict) or not isinstance(found.get("answer"), dict):
            return None
        return found.get("state", []), found["answer"]

    def _write_cache(self, name: str, state: FileState, answer: dict[str, Any]) -> None:
        path = self._cache_path(name)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_if_possible(path, json.dumps({"state": state, "answer": answer}))

    def _cache_path(self, name: str) -> Path:
        assert self._cache
        key = hashlib.sha256(f"{self.uri}\n{name}".encode()).hexdigest()[:16]
        return self._cache / f".registry-{key}.json"

    def _ask(
        self, question: dict[str, str], timeout: float, environment: dict[str, str] | None = None
    ) -> dict[str, Any]:
        if find_spec("mlflow") is None:
            raise InputError(
                f"{without_password(self.uri)} or its artifacts can be read with MLflow alone, which is not "
                "installed here; run mlflow server --serve-artifacts on it and set MLFLOW_TRACKING_URI to "
                "the server's address"
            )
        try:
            # On standard input: a password among the arguments would be visible in the list of
            # processes.
            done = subprocess.run(
                packages.command(CHILD),
                input=json.dumps(question),
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
                env=environment,
            )
        except subprocess.TimeoutExpired:
            raise no_answer(self.uri, f"none within {timeout:.0f} s") from None
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise no_answer(self.uri, (lines or ["the process died"])[-1])
        with well_formed(self.uri, "answer"):
            answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            if "error" in answer:
                raise (RegistryError if answer["temporary"] else InputError)(text_of(answer["error"]))
        return answer


def _file_state(uri: str) -> FileState:
    """Return the state of an SQLite file and its write-ahead log; empty for any other address."""
    if not uri.startswith(SQLITE):
        return []
    path = uri.removeprefix(SQLITE)
    state = []
    for name in (path, f"{path}-wal"):
        with contextlib.suppress(FileNotFoundError):
            found = Path(name).stat()
            state.append([found.st_ino, found.st_mtime_ns, found.st_size])
    return state
