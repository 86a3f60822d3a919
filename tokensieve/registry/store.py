"""Where an MLflow registry is, what it can be asked, and the error that it gives no answer. MLflow itself is not imported."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from tokensieve.errors import InputError, excerpt
from tokensieve.project import Layout
from tokensieve.settings import Settings

SQLITE = "sqlite:///"
SERVED = "data/onnx"  # where a registered model keeps the served folder: MLflow names it after layout.onnx
REMEDY = "start it, or set register.uri or MLFLOW_TRACKING_URI"
PROXIED = "mlflow-artifacts"  # scheme of locations that a server hands out
NUMBER = r"[1-9][0-9]{0,9}"  # a version


class RegistryError(InputError, ConnectionError):
    """The registry cannot be reached: its address is wrong, which a person mends, or it is down, which may pass."""


@dataclass(frozen=True)
class ModelVersion:
    """A registered version: the run that made it (empty: none did), where its model lies, and when it was registered, in ms."""

    run_id: str
    location: str
    created: int

    @property
    def mark(self) -> str:
        """Eight characters that tell it from a version of the same name and number in a registry made anew."""
        return self.run_id[:8] or hashlib.sha256(f"{self.location} {self.created}".encode()).hexdigest()[:8]


class Store(Protocol):
    """What a registry is asked. Every call raises RegistryError where it gives no answer."""

    def models(self) -> list[str]:
        """The names of all models."""

    def aliases(self, name: str) -> dict[str, str] | None:
        """The version of each alias; None: no such model."""

    def versions(self, name: str) -> list[str]:
        """The numbers of all versions."""

    def version(self, name: str, number: str) -> ModelVersion | None:
        """One version; None: there is none of that number."""


class Editable(Store, Protocol):
    """A registry whose aliases and tags can be changed. It also returns what the runs of its versions recorded."""

    @property
    def uri(self) -> str:
        """Where it is."""

    def tags(self, name: str) -> dict[str, str]:
        """Return the tags of a model; none if there is no such model."""

    def version_tags(self, name: str, number: str) -> dict[str, str]:
        """Return the tags of a version; none if there is no such version."""

    def metrics(self, run: str) -> dict[str, float]:
        """Return the last value of each metric of a run; none if there is no such run."""

    def experiment(self, name: str) -> str | None:
        """Return the stage of an experiment, active or deleted. None: there is none of that name."""

    def set_alias(self, name: str, alias: str, number: str) -> None:
        """Point an alias of a model at a version that exists."""

    def set_tag(self, name: str, key: str, value: str) -> None:
        """Set a tag of a model that exists."""


def tracking_uri(layout: Layout, settings: Settings) -> str:
    """Where MLflow keeps runs and models: MLFLOW_TRACKING_URI, else `register.uri`; relative SQLite paths start at the project.

    Raises:
        InputError: neither a database nor a server.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or settings.register.uri
    if uri.startswith(SQLITE):
        if "?" in str(layout.root.resolve()):
            raise InputError(
                f"{layout.root}: its address cannot hold a ?; rename the folder, or set register.uri"
            )
        return f"{SQLITE}{layout.root.resolve() / uri.removeprefix(SQLITE)}"
    if not re.match(r"(https?|postgresql|mysql|mssql)\b", uri):
        shown = excerpt(without_password(uri))
        raise InputError(
            f"register.uri or MLFLOW_TRACKING_URI is {shown}; allowed: sqlite:///FILE, postgresql://... or http(s)://..."
        )
    return uri


def check_database(uri: str) -> None:
    """Raises InputError: `uri` is an SQLite file that is not there. MLflow would make it, which takes seconds and hides a wrong path."""
    if not exists(uri):
        raise InputError(
            f"{uri} does not exist; register a model first, or set register.uri or MLFLOW_TRACKING_URI"
        )


def exists(uri: str) -> bool:
    """Whether the SQLite file is there; of any other address, True."""
    return not uri.startswith(SQLITE) or Path(uri.removeprefix(SQLITE)).exists()


def local_path(location: str) -> Path | None:
    """The path of a location on this machine, whether a path or a file: URI; None for any other."""
    parts = urlsplit(location)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(location) if location.startswith("/") else None


def no_answer(uri: str, reason: object, remedy: str = REMEDY) -> RegistryError:
    """The error to raise where the registry at `uri` fails for `reason`; it shows no password."""
    first = excerpt(str(reason).strip().partition("\n")[0], 400)
    return RegistryError(without_password(f"MLflow at {uri} gives no answer: {first}; {remedy}"))


@contextmanager
def well_formed(uri: str, what: str) -> Iterator[None]:
    """Turn the errors of reading a malformed answer into RegistryError. It names `what` was asked for."""
    try:
        yield
    except InputError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        reason = f"the {what} it returns is malformed ({type(error).__name__}: {error})"
        raise no_answer(uri, reason, "check that the address is an MLflow server's") from None


def text_of(value: Any) -> str:
    """Return `value` as it is. Raises TypeError: If it is not a string."""
    if not isinstance(value, str):
        raise TypeError(f"{excerpt(value)} is not a text")
    return value


def without_password(text: str) -> str:
    """`text` with the credentials of every address in it taken out."""
    return re.sub(r"(password=)[^&\s]*", r"\1***", re.sub(r"//\S*@", "//", text))
