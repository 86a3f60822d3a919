"""An MLflow server's REST API with the standard library alone: who serves a model has neither MLflow nor requests.

Credentials come from MLFLOW_TRACKING_USERNAME and _PASSWORD, MLFLOW_TRACKING_TOKEN, or the address. They go to no other host.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from ssl import SSLError
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from tasks.store import ModelVersion, no_answer, without_password
from tokensieve.errors import InputError, excerpt

TIMEOUT = 5.0  # seconds without a byte: a watcher asks again in as many
ANSWER = 2**24  # bytes of an answer that is read as JSON, at most
API = "/api/2.0/mlflow/"
PROXY = "/api/2.0/mlflow-artifacts/artifacts/"
ABSENT = "RESOURCE_DOES_NOT_EXIST"


@dataclass(frozen=True)
class Server:
    """The registry of an MLflow server, and the artifacts that it hands out itself (`--serve-artifacts`, its default)."""

    uri: str

    def models(self) -> list[str]:
        return [model["name"] for model in self._pages("registered-models/search", "registered_models")]

    def aliases(self, name: str) -> dict[str, str] | None:
        found = self._ask("registered-models/get", "registered_model", name=name)
        return None if found is None else {alias["alias"]: str(alias["version"]) for alias in found["registered_model"].get("aliases", [])}

    def versions(self, name: str) -> list[str]:
        return [str(found["version"]) for found in self._pages("model-versions/search", "model_versions", filter=f"name = '{name}'")]

    def version(self, name: str, number: str) -> ModelVersion | None:
        found = self._ask("model-versions/get", "model_version", name=name, version=number)
        where = self._ask("model-versions/get-download-uri", "artifact_uri", name=name, version=number)
        if found is None or where is None:
            return None
        version = found["model_version"]
        return ModelVersion(version.get("run_id", ""), where["artifact_uri"], int(version["creation_timestamp"]))

    def proxies(self, location: str) -> bool:
        """Whether the server hands out what lies at `location`: an artifact store of its own, not one of another server."""
        parts = urlsplit(location)
        return parts.scheme == "mlflow-artifacts" and parts.netloc in ("", urlsplit(self.uri).netloc.rpartition("@")[2])

    def copy(self, location: str, to: Path) -> bool:
        """Write the artifact at `location`, which it `proxies`, to the file `to`. False: there is none."""
        with self._answer(PROXY + quote(unquote(urlsplit(location).path).lstrip("/"))) as response:
            if response is None:
                return False
            with to.open("wb") as file:
                shutil.copyfileobj(response, file)
                expected = response.headers.get("Content-Length")
                if expected and file.tell() != int(expected):
                    raise HTTPException(f"{to.name} ended after {file.tell()} of {expected} bytes")
        return True

    def _pages(self, endpoint: str, key: str, **query: str) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            page = self._ask(endpoint, **query, page_token=token) or {}
            yield from page.get(key, [])
            token = page.get("next_page_token", "")
            if not token:
                return

    def _ask(self, endpoint: str, *keys: str, **query: str) -> dict[str, Any] | None:
        """The object that an endpoint answers with, `keys` being in it; None: MLflow says that there is no such thing."""
        with self._answer(f"{API}{endpoint}?{urlencode(query)}") as response:
            if response is None:
                return None
            tree = json.loads(response.read(ANSWER))
            if not isinstance(tree, dict) or not tree.keys() >= set(keys):
                raise ValueError(f"{endpoint} answers with no object{' that holds ' if keys else ''}{', '.join(keys)}")
            return tree

    @contextmanager
    def _answer(self, path: str) -> Iterator[HTTPResponse | None]:
        """The response to a GET; None where MLflow says that there is no such thing. Within it, what fails is the registry's fault."""
        address, credentials = _apart(self.uri)
        try:
            response = _OPENER.open(Request(address + path, headers=credentials), timeout=TIMEOUT)
        except HTTPError as error:
            with error:
                if not self._absent(error, path):
                    raise no_answer(self.uri, f"{error.code} {error.reason}") from None
            yield None
            return
        except (OSError, HTTPException, ValueError) as error:
            raise no_answer(self.uri, getattr(error, "reason", error)) from None
        with response:
            try:
                yield response
            # Not every OSError: a full disk is not the registry's fault.
            except (ConnectionError, TimeoutError, SSLError, HTTPException, ValueError) as error:
                raise no_answer(self.uri, f"{type(error).__name__}: {error}") from None

    def _absent(self, error: HTTPError, path: str) -> bool:
        """Whether a refusal says that what was asked for does not exist. Raises InputError: it asks for other credentials."""
        try:
            body = error.read(ANSWER).decode("utf-8", "replace")
        except (OSError, HTTPException):
            body = ""
        if error.code in (401, 403):
            remedy = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            shown = without_password(self.uri)
            raise InputError(f"MLflow at {shown} refuses: {error.code} {excerpt(body.strip() or error.reason, 200)}; {remedy}")
        try:
            code = json.loads(body).get("error_code")
        except (ValueError, AttributeError):
            code = None
        return code == ABSENT or (path.startswith(PROXY) and error.code == 404)


class _SameHost(HTTPRedirectHandler):
    """Follows a redirect on the same host and port alone: the credentials go along with it."""

    def redirect_request(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str) -> Request | None:
        old, new = urlsplit(req.full_url), urlsplit(urljoin(req.full_url, newurl))
        if (old.scheme, old.netloc) != (new.scheme, new.netloc):
            raise InputError(
                f"MLflow at {old.scheme}://{old.netloc} redirects to {new.scheme}://{new.netloc}; "
                "if that is the registry, set register.uri or MLFLOW_TRACKING_URI to it"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = build_opener(_SameHost)


def _apart(uri: str) -> tuple[str, dict[str, str]]:
    """The address without what stands before @, and the header with the credentials, empty where there are none."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    if not (user and password) and not token and "@" in parts.netloc:
        user, _, password = (unquote(part) for part in parts.netloc.rpartition("@")[0].partition(":"))
    headers = {}
    if user and password:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    elif token:
        headers["Authorization"] = f"Bearer {token}"
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}", headers
