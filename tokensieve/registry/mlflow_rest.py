"""An MLflow server's REST API with the standard library alone: who serves a model has neither MLflow nor requests.

Credentials come from MLFLOW_TRACKING_USERNAME and _PASSWORD, ~/.mlflow/credentials, MLFLOW_TRACKING_TOKEN, or the address, and
certificates from the variables that MLflow reads. Credentials are sent to no other host.

Each answer has a deadline and a size limit, so a server that sends a byte at a time, or without end, cannot hold up a caller.
"""

from __future__ import annotations

import base64
import configparser
import io
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse, HTTPSConnection
from pathlib import Path
from ssl import SSLCertVerificationError, SSLError
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    Request,
    build_opener,
)

from tokensieve.errors import InputError, excerpt
from tokensieve.registry.certificates import tls_context
from tokensieve.registry.store import PROXIED, ModelVersion, no_answer, text_of, well_formed, without_password

TIMEOUT = 5.0  # seconds without a byte: a watcher asks again in as many
LOOKUP, DOWNLOAD = 15.0, 1800.0  # seconds for a whole answer: to a question with all its pages, or a file
ANSWER = 2**24  # bytes of an answer that is read as JSON, at most
PAGES = 100  # of one listing, at most
FILE = 2**35  # bytes of a file, at most: a graph with its weights has tens to thousands of megabytes
API = "/api/2.0/mlflow/"
PROXY = "/api/2.0/mlflow-artifacts/artifacts/"
JSON = {"Content-Type": "application/json"}  # of a POST; urllib's own default is refused
ABSENT = "RESOURCE_DOES_NOT_EXIST"
UNTRUSTED = "set MLFLOW_TRACKING_SERVER_CERT_PATH to the file of the authority that signed its certificate"


@dataclass(frozen=True)
class Server:
    """The registry of an MLflow server, and the artifacts that it hands out itself (`--serve-artifacts`, its default).

    With `anonymous`, no credentials are sent.
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

    def holder(self, location: str) -> Server | None:
        """Return the server that hands out what is at `location`: this one, or another one, which gets no credentials. None: no server."""
        parts = urlsplit(location)
        if parts.scheme != PROXIED:
            return None
        own = urlsplit(self.uri)
        if parts.netloc in ("", own.netloc.rpartition("@")[2]):
            return self
        return Server(f"{own.scheme}://{parts.netloc.rpartition('@')[2]}", anonymous=True)

    def copy(self, location: str, to: Path) -> bool:
        """Write the artifact at `location`, which this server hands out, to the file `to`. False: there is none.

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
                            f"{to.name} in the registry is larger than {FILE // 2**30} GiB; export the model again"
                        )
                    file.write(block)
                if expected is not None and file.tell() != expected:
                    raise HTTPException(f"{to.name} ended after {file.tell()} of {expected} bytes")
        return True

    def _pages(self, endpoint: str, key: str, **query: str) -> Iterator[dict[str, Any]]:
        token, ends = "", time.monotonic() + LOOKUP
        for _ in range(PAGES):
            page = self._ask(endpoint, ends=ends, **query, page_token=token) or {}
            yield from page.get(key, [])
            token = page.get("next_page_token", "")
            if not token:
                return
        raise ValueError(f"it has more than {PAGES} pages")

    def _ask(
        self, endpoint: str, *keys: str, ends: float | None = None, **query: str
    ) -> dict[str, Any] | None:
        """The object that an endpoint answers with, `keys` being in it; None: MLflow says that there is no such thing."""
        with self._answer(
            f"{API}{endpoint}?{urlencode(query)}", ends or time.monotonic() + LOOKUP
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
    def _answer(self, path: str, ends: float, body: bytes | None = None) -> Iterator[HTTPResponse | None]:
        """The response to a GET, or with `body` to a POST, all of which arrives before `ends` on the monotonic clock.

        None if MLflow has no such thing. A network error in the block is raised as RegistryError.
        """
        address, credentials = _apart(self.uri, self.anonymous)
        try:
            response = _opener(address, ends).open(
                Request(address + path, body, credentials | JSON), timeout=TIMEOUT
            )
        except HTTPError as error:
            with error:
                if not self._absent(error, path):
                    raise no_answer(self.uri, f"{error.code} {error.reason}") from None
            yield None
            return
        except InputError:
            raise
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, SSLCertVerificationError):
                raise no_answer(self.uri, reason, UNTRUSTED) from None
            raise no_answer(self.uri, reason) from None
        with response:
            try:
                yield response
            except InputError:
                raise
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
            if self.anonymous:
                remedy = "it is not the server of the registry, so no credentials are sent there; move the files to the registry's server"
            shown = without_password(self.uri)
            raise InputError(
                f"MLflow at {shown} refuses: {error.code} {excerpt(body.strip() or error.reason, 200)}; {remedy}"
            )
        try:
            code = json.loads(body).get("error_code")
        except (ValueError, AttributeError, RecursionError):
            code = None
        return code == ABSENT or (path.startswith(PROXY) and error.code == 404)


class _SameHost(HTTPRedirectHandler):
    """Follows a redirect on the same host and port alone: the credentials go along with it."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        old, new = urlsplit(req.full_url), urlsplit(urljoin(req.full_url, newurl))
        if (old.scheme, old.netloc) != (new.scheme, new.netloc):
            raise InputError(
                f"MLflow at {old.scheme}://{old.netloc} redirects to {new.scheme}://{new.netloc}; "
                "if that is the registry, set register.uri or MLFLOW_TRACKING_URI to it"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Timed(io.RawIOBase):
    """The bytes of a socket until a deadline. A socket's own timeout starts anew with each byte."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, ends: float) -> None:
        self._raw, self._socket, self._ends = raw, sock, ends

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        self._socket.settimeout(min(TIMEOUT, left))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    """A response whose head and body end at a deadline."""

    def __init__(self, sock: socket.socket, *args: Any, ends: float, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_Timed(self.fp.detach(), sock, ends))


class _Plain(HTTPConnection):
    def __init__(self, *args: Any, ends: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self.response_class = partial(_Response, ends=ends)  # type: ignore[assignment]


class _Secure(HTTPSConnection):
    def __init__(self, *args: Any, ends: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self.response_class = partial(_Response, ends=ends)  # type: ignore[assignment]


class _Http(HTTPHandler):
    def __init__(self, ends: float) -> None:
        super().__init__()
        self._ends = ends

    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_Plain, req, ends=self._ends)  # type: ignore[arg-type]


class _Https(HTTPSHandler):
    def __init__(self, ends: float) -> None:
        self._ends, self._tls = ends, tls_context()
        super().__init__(context=self._tls)

    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_Secure, req, ends=self._ends, context=self._tls)  # type: ignore[arg-type]


def _opener(address: str, ends: float) -> OpenerDirector:
    secure = [_Https(ends)] if address.startswith("https:") else []
    return build_opener(_SameHost, _Http(ends), *secure)


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


def _apart(uri: str, anonymous: bool) -> tuple[str, dict[str, str]]:
    """The address without what stands before @, and the header with the credentials, empty where there are none."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    address = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
    if anonymous:
        return address, {}
    user, password = _credentials()
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    if not (user and password) and not token and "@" in parts.netloc:
        user, _, password = (unquote(part) for part in parts.netloc.rpartition("@")[0].partition(":"))
    headers = {}
    if user and password:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    elif token:
        headers["Authorization"] = f"Bearer {token}"
    return address, headers


def _credentials() -> tuple[str | None, str | None]:
    """Return user and password from the environment, else from ~/.mlflow/credentials, each by itself as MLflow does."""
    names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    path = Path("~/.mlflow/credentials").expanduser()
    kept = configparser.ConfigParser()
    try:
        kept.read(path, encoding="utf-8")
        found = [os.environ.get(name) or kept.get("mlflow", name.lower(), fallback=None) for name in names]
    except (configparser.Error, OSError, ValueError) as error:
        raise InputError(
            f"{path} is damaged ({type(error).__name__}); write [mlflow] and a line per value, and %% for %"
        ) from None
    return found[0], found[1]
