"""Read an MLflow server through its REST API, with the standard library.

An installation for serving has neither MLflow nor requests. Credentials are sent to the server's
own host only. Each answer has a deadline and a size limit.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from ssl import SSLCertVerificationError, SSLError
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlencode, urlsplit
from urllib.request import Request

from tokensieve.errors import InputError, excerpt
from tokensieve.registry.credentials import plain_address, split_credentials
from tokensieve.registry.http_deadline import open_url
from tokensieve.registry.store import (
    PROXIED,
    REMEDY,
    ModelVersion,
    no_answer,
    text_of,
    well_formed,
    without_password,
)

LOOKUP, DOWNLOAD = 15.0, 1800.0  # seconds for an answer with all its pages, and for a file
ANSWER = 2**24  # bytes of a JSON answer, at most
PAGES = 100  # of a list, at most
FILE = 2**35  # bytes of a file, at most: a model has tens to thousands of megabytes
API = "/api/2.0/mlflow/"
PROXY = "/api/2.0/mlflow-artifacts/artifacts/"
JSON = {"Content-Type": "application/json"}  # of a POST: MLflow refuses urllib's default
ABSENT = "RESOURCE_DOES_NOT_EXIST"
STORAGE = (
    "look in its log whether it reaches its artifacts, and check its --artifacts-destination and credentials"
)
UNTRUSTED = "set MLFLOW_TRACKING_SERVER_CERT_PATH to the file of the authority that signed its certificate"


@dataclass(frozen=True)
class RestRegistry:
    """The registry of the MLflow server at `uri`, and the artifacts that it serves itself.

    It serves artifacts with `--serve-artifacts`, the default. It is a `store.RegistryReader`. With
    `anonymous`, no credentials are sent.
    """

    uri: str
    anonymous: bool = False

    def models(self) -> list[str]:
        with well_formed(self.uri, "list of models"):
            return [
                text_of(model["name"])
                for model in self._pages("registered-models/search", "registered_models")
            ]

    def aliases(self, name: str) -> dict[str, str] | None:
        found = self._ask("registered-models/get", "registered_model", name=name)
        with well_formed(self.uri, "model"):
            given = [] if found is None else found["registered_model"].get("aliases", [])
            return (
                None if found is None else {text_of(alias["alias"]): str(alias["version"]) for alias in given}
            )

    def versions(self, name: str) -> list[str]:
        with well_formed(self.uri, "list of versions"):
            return [
                str(found["version"])
                for found in self._pages("model-versions/search", "model_versions", filter=f"name = '{name}'")
            ]

    def version(self, name: str, number: str) -> ModelVersion | None:
        found = self._ask("model-versions/get", "model_version", name=name, version=number)
        where = self._ask("model-versions/get-download-uri", "artifact_uri", name=name, version=number)
        if found is None or where is None:
            return None
        with well_formed(self.uri, "version"):
            version = found["model_version"]
            run, location = text_of(version.get("run_id", "")), text_of(where["artifact_uri"])
            return ModelVersion(run, location, int(version["creation_timestamp"]))

    def experiment(self, name: str) -> str | None:
        found = self._ask("experiments/get-by-name", "experiment", experiment_name=name)
        with well_formed(self.uri, "experiment"):
            return None if found is None else text_of(found["experiment"]["lifecycle_stage"])

    def host_of(self, location: str) -> RestRegistry | None:
        """Return the server that serves the files at `location`; None if no server does.

        It is this server, or another one, which gets no credentials.
        """
        parts = urlsplit(location)
        if parts.scheme != PROXIED:
            return None
        own = urlsplit(self.uri)
        if parts.netloc in ("", own.netloc.rpartition("@")[2]):
            return self
        return RestRegistry(f"{own.scheme}://{parts.netloc.rpartition('@')[2]}", anonymous=True)

    def copy(self, location: str, to: Path) -> bool:
        """Write the artifact at `location`, which this server serves, to the file `to`.

        Returns:
            Whether the artifact exists.

        Raises:
            InputError: If the file is larger than `FILE` or than the free disk space.
        """
        with self._answer(
            PROXY + quote(unquote(urlsplit(location).path).lstrip("/")), time.monotonic() + DOWNLOAD
        ) as response:
            if response is None:
                return False
            with to.open("wb") as file:
                expected = _size(response.headers.get("Content-Length"))
                _check_room(to, expected)
                while block := response.read1(2**20):
                    if file.tell() + len(block) > FILE:
                        raise InputError(
                            f"{to.name} in the registry is larger than {FILE // 2**30} GiB; "
                            "export the model again"
                        )
                    file.write(block)
                if expected is not None and file.tell() != expected:
                    raise HTTPException(f"{to.name} ended after {file.tell()} of {expected} bytes")
        return True

    def _pages(self, endpoint: str, key: str, **query: str) -> Iterator[dict[str, Any]]:
        token, deadline = "", time.monotonic() + LOOKUP
        for _ in range(PAGES):
            page = self._ask(endpoint, deadline=deadline, **query, page_token=token) or {}
            yield from page.get(key, [])
            token = page.get("next_page_token", "")
            if not token:
                return
        raise ValueError(f"it has more than {PAGES} pages")

    def _ask(
        self, endpoint: str, *keys: str, deadline: float | None = None, **query: str
    ) -> dict[str, Any] | None:
        """Return the object in the response of an endpoint; None if MLflow has no such object.

        The object has the `keys`.
        """
        with self._answer(
            f"{API}{endpoint}?{urlencode(query)}", deadline or time.monotonic() + LOOKUP
        ) as response:
            if response is None:
                return None
            body = response.read(ANSWER + 1)
            if len(body) > ANSWER:
                raise ValueError(f"{endpoint} answers with more than {ANSWER // 2**20} MiB")
            try:
                tree = json.loads(body)
            except RecursionError:
                raise ValueError(f"{endpoint} answers with JSON that is nested too deeply") from None
            if not isinstance(tree, dict) or not tree.keys() >= set(keys):
                raise ValueError(
                    f"{endpoint} answers with no object{' that holds ' if keys else ''}{', '.join(keys)}"
                )
            return tree

    @contextmanager
    def _answer(
        self, path: str, deadline: float, body: bytes | None = None, method: str = "GET"
    ) -> Iterator[HTTPResponse | None]:
        """Yield the response to a request, which arrives before `deadline`.

        It is None if MLflow has no such object.

        Raises:
            RegistryError: If the request fails, also in the block.
            InputError: If the server refuses the credentials.
        """
        address, headers = (plain_address(self.uri), {}) if self.anonymous else split_credentials(self.uri)
        try:
            response = open_url(Request(address + path, body, headers | JSON, method=method), deadline)
        except HTTPError as error:
            with error:
                if not self._absent(error, path):
                    raise no_answer(self.uri, f"{error.code} {error.reason}", _remedy(path)) from None
            yield None
            return
        except InputError:
            raise
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, SSLCertVerificationError):
                raise no_answer(self.uri, reason, UNTRUSTED) from None
            remedy = _remedy(path) if isinstance(reason, TimeoutError) else REMEDY
            raise no_answer(self.uri, reason, remedy) from None
        with response:
            try:
                yield response
            except InputError:
                raise
            # Not every OSError: a full disk is not the registry's fault.
            except (ConnectionError, TimeoutError, SSLError, HTTPException, ValueError) as error:
                raise no_answer(self.uri, f"{type(error).__name__}: {error}") from None

    def _absent(self, error: HTTPError, path: str) -> bool:
        """Return whether an error response means that the object does not exist.

        Raises:
            InputError: If the server refuses the credentials.
        """
        try:
            body = error.read(ANSWER).decode("utf-8", "replace")
        except (OSError, HTTPException):
            body = ""
        if error.code in (401, 403):
            remedy = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            if path.startswith(PROXY.rstrip("/")) and body.startswith("{"):
                remedy = STORAGE
            elif self.anonymous:
                remedy = (
                    "it is not the server of the registry, so no credentials are sent there; "
                    "move the files to the registry's server"
                )
            shown = without_password(self.uri)
            raise InputError(
                f"MLflow at {shown} refuses: {error.code} {excerpt(body.strip() or error.reason, 200)}; "
                f"{remedy}"
            )
        try:
            code = json.loads(body).get("error_code")
        except (ValueError, AttributeError, RecursionError):
            code = None
        return code == ABSENT or (path.startswith(PROXY) and error.code == 404)


def _remedy(path: str) -> str:
    """Return what to do about a server that fails on `path`."""
    return STORAGE if path.startswith(PROXY.rstrip("/")) else REMEDY


def _size(header: str | None) -> int | None:
    return int(header) if header and header.isdecimal() else None


def _check_room(path: Path, size: int | None) -> None:
    """Refuse a file of `size` bytes that is too large, or does not fit on the disk of `path`.

    Raises:
        InputError: If it is refused.
    """
    if size is None:
        return
    if size > FILE:
        raise InputError(
            f"{path.name} in the registry has {size:,} bytes, allowed: {FILE:,}; export the model again"
        )
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise InputError(
            f"{path.parent} has room for {free:,} bytes, and {path.name} needs {size:,}; free some space"
        )
