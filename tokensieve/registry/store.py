"""An MLflow registry: its address, the protocols to read and change it, and its error."""

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
from tokensieve.registry.runs import RunEditor
from tokensieve.settings import Settings

SQLITE = "sqlite:///"
SERVED = "data/onnx"  # the model folder in a registered model: MLflow names it after layout.onnx
REMEDY = "start it, or set register.uri or MLFLOW_TRACKING_URI"
RUNS = Layout(Path()).runs.name  # the folder in which a project with an SQLite registry has its model files
# Of SQLite: a file was cut off, or is none of its own.
DAMAGED = ("disk image is malformed", "file is not a database")
REPAIR = "put a backup of the file there, or rename it and run tokensieve run, which makes a new one"
PROXIED = "mlflow-artifacts"  # scheme of locations whose files an MLflow server sends
NUMBER = r"[1-9][0-9]{0,9}"  # of a version


class RegistryError(InputError, ConnectionError):
    """The registry does not respond. Its address may be wrong, or it may be down for a while."""


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model.

    Attributes:
        run_id: The run that made it; empty if none did.
        location: The address of its files.
        created: When it was registered, in milliseconds since 1970.
    """

    run_id: str
    location: str
    created: int

    @property
    def mark(self) -> str:
        """Eight characters that identify the version, also if a registry was recreated."""
        return self.run_id[:8] or hashlib.sha256(f"{self.location} {self.created}".encode()).hexdigest()[:8]


class RegistryReader(Protocol):
    """A registry that is only read.

    Every method raises RegistryError if the registry does not respond.
    """

    @property
    def uri(self) -> str:
        """The address of the registry."""

    def models(self) -> list[str]:
        """Return the names of all models."""

    def aliases(self, name: str) -> dict[str, str] | None:
        """Return the version of each alias of a model; None if there is no such model."""

    def versions(self, name: str) -> list[str]:
        """Return the numbers of all versions of a model."""

    def version(self, name: str, number: str) -> ModelVersion | None:
        """Return a version; None if there is no version of that number."""

    def experiment(self, name: str) -> str | None:
        """Return the stage of an experiment, active or deleted; None if it does not exist."""


class RegistryEditor(RegistryReader, RunEditor, Protocol):
    """A registry whose aliases, tags and runs can be changed."""

    def tags(self, name: str) -> dict[str, str]:
        """Return the tags of a model. Empty if there is no such model."""

    def version_tags(self, name: str, number: str) -> dict[str, str]:
        """Return the tags of a version. Empty if there is no such version."""

    def set_alias(self, name: str, alias: str, number: str) -> None:
        """Set an alias of a model to an existing version."""

    def delete_alias(self, name: str, alias: str) -> None:
        """Delete an alias of a model."""

    def delete_version(self, name: str, number: str) -> None:
        """Delete a version of a model. Its run and its files stay."""

    def set_tag(self, name: str, key: str, value: str) -> None:
        """Set a tag of an existing model."""


def tracking_uri(layout: Layout, settings: Settings) -> str:
    """Return the address of the registry: MLFLOW_TRACKING_URI, or else `register.uri`.

    A relative SQLite path starts at the project.

    Raises:
        InputError: If it is neither a database nor a server.
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
            f"register.uri or MLFLOW_TRACKING_URI is {shown}; allowed: sqlite:///FILE, postgresql://... or "
            "http(s)://..."
        )
    return uri


def check_database(uri: str) -> None:
    """Check that an SQLite file exists.

    MLflow would create it, which takes seconds and hides a wrong path.

    Raises:
        InputError: If `uri` is an SQLite file that does not exist.
    """
    if not exists(uri):
        raise InputError(
            f"{uri} does not exist; run tokensieve run first, or set register.uri or MLFLOW_TRACKING_URI"
        )


def exists(uri: str) -> bool:
    """Return whether an SQLite file exists. True for any other address."""
    return not uri.startswith(SQLITE) or Path(uri.removeprefix(SQLITE)).exists()


def local_path(location: str) -> Path | None:
    """Return the path of a location on this machine, given as a path or a file: URI.

    For any other location, return None.
    """
    parts = urlsplit(location)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(location) if location.startswith("/") else None


def present_location(uri: str, location: str) -> str:
    """Return where the files at `location` are now, for the registry at `uri`.

    An SQLite file has absolute paths of model files. After both were moved or copied together,
    these paths name the old place: its files are gone, or they are the original's.
    """
    local = local_path(location)
    if local is None or not uri.startswith(SQLITE) or RUNS not in local.parts:
        return location
    inside = local.parts[len(local.parts) - local.parts[::-1].index(RUNS) :]
    beside = (
        parent.joinpath(RUNS, *inside) for parent in Path(uri.removeprefix(SQLITE)).parents if len(inside)
    )
    return next((path.as_uri() for path in beside if path.is_dir()), location)


def no_answer(uri: str, reason: object, remedy: str = REMEDY) -> RegistryError:
    """Return the error to raise if the registry at `uri` does not respond.

    Passwords are removed from its message.
    """
    first = excerpt(str(reason).strip().partition("\n")[0], 400)
    if any(damage in first for damage in DAMAGED):
        remedy = REPAIR
    return RegistryError(without_password(f"MLflow at {uri} gives no answer: {first}; {remedy}"))


@contextmanager
def well_formed(uri: str, what: str) -> Iterator[None]:
    """Run the block, and replace the errors of a malformed answer.

    Raises:
        RegistryError: If the answer is malformed. The message has `what`, the name of the object
            asked for.
    """
    try:
        yield
    except InputError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        reason = f"the {what} it returns is malformed ({type(error).__name__}: {error})"
        raise no_answer(uri, reason, "check that the address is an MLflow server's") from None


def text_of(value: Any) -> str:
    """Return `value` unchanged.

    Raises:
        TypeError: If it is not a string.
    """
    if not isinstance(value, str):
        raise TypeError(f"{excerpt(value)} is not a text")
    return value


def without_password(text: str) -> str:
    """Return `text` without the credentials of the addresses in it."""
    return re.sub(r"(password=)[^&\s]*", r"\1***", re.sub(r"//\S*@", "//", text))
