"""Download a file from an http(s) address and find its format.

No address is written to a file: it may contain a password.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Iterator
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import requests
import urllib3

from tokensieve.data.table_formats import ENDINGS, FORMATS
from tokensieve.errors import InputError, excerpt
from tokensieve.files import atomic_file

TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two parts of the response
CHUNK = 1 << 20
TEMPORARY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
TYPES = {
    "text/csv": ".csv",
    "application/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/jsonl": ".jsonl",
    "application/x-jsonlines": ".jsonl",
    "application/jsonlines": ".jsonl",
    "application/ndjson": ".jsonl",
    "application/x-ndjson": ".jsonl",
    "application/vnd.apache.parquet": ".parquet",
    "application/x-parquet": ".parquet",
    "application/vnd.apache.arrow.file": ".arrow",
}


_SECRETS: dict[str, str] = {}  # addresses with their secrets, by their public name


class FetchError(InputError, ConnectionError):
    """A URL whose server is down or overloaded.

    It may come back, so a scheduled run tries again.
    """


def fetch(url: str, folder: Path, option: str, form: str = "auto") -> Path:
    """Download the file at an http(s) address into `folder`. Return its path, ending in its format.

    The format is `form` (data.format). With "auto" it follows from the file name that the server
    sends, the address, its query, or the content type, in this order.

    Raises:
        FetchError: If the server is down or overloaded.
        InputError: If the address is not that of a file of a known format. Messages show it without
            password and query.
    """
    shown = f"{option} {public(url)}"
    with requests.Session() as session:
        # No proxy for the servers of this machine.
        session.trust_env = not _is_loopback(url)
        try:
            with session.get(
                url, stream=True, timeout=TIMEOUT, headers={"User-Agent": "tokensieve"}
            ) as response:
                _refuse_failure(response, shown)
                file = folder / f"data{_ending(response, url, form, shown)}"
                folder.mkdir(parents=True, exist_ok=True)
                with atomic_file(file) as temporary, temporary.open("wb") as output:
                    for chunk in _chunks(response, shown):
                        output.write(chunk)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            lasting = isinstance(
                error, (requests.exceptions.InvalidURL, requests.exceptions.TooManyRedirects)
            )
            raise (InputError if lasting else FetchError)(
                f"{shown} could not be fetched: {_reason(error)}"
            ) from None
    return file


def hidden(address: str) -> str:
    """Return a name for `address` without its secrets: Prefect stores the parameters of a flow.

    `revealed` returns the address.
    """
    shown = public(address)
    if shown == address:
        return address
    name = f"{shown}#{len(_SECRETS)}"
    _SECRETS[name] = address
    return name


def revealed(address: str) -> str:
    """Return the address that `hidden` gave this name, with values for ${NAME} inserted.

    With them, the parameters of a deployed run need not contain a password: Prefect stores them.

    Raises:
        InputError: If a variable is not set.
    """
    return re.sub(r"\$\{(\w+)\}", _variable, _SECRETS.get(address, address))


def _variable(found: re.Match[str]) -> str:
    name = found.group(1)
    if name not in os.environ:
        raise InputError(f"the address of the data names ${{{name}}}; set the environment variable {name}")
    return os.environ[name]


def public(address: str) -> str:
    """Return a URL without user, password and query, and a path unchanged."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rsplit("@", 1)[-1], parts.path, "", ""))


def _refuse_failure(response: requests.Response, shown: str) -> None:
    status = response.status_code
    if status < 400:
        return
    message = f"{shown} could not be fetched: the server responded with {_status(status)}"
    if status >= 500 or status in TEMPORARY:
        raise FetchError(message)
    if status in DENIED:
        message += (
            "; put user and password in ~/.netrc or in the address (https://USER:PASSWORD@HOST/...), "
            "or a token in its query"
        )
    raise InputError(message)


def _status(number: int) -> str:
    """Return a status in the standard's words: a server may send any text, or a time, with it."""
    return f"{number} {HTTPStatus(number).phrase}" if number in list(HTTPStatus) else str(number)


def _chunks(response: requests.Response, shown: str) -> Iterator[bytes]:
    """Yield the body of a response.

    Raises:
        InputError: If it is a web page, as servers send that require a login.
    """
    first = True
    for chunk in response.iter_content(CHUNK):
        if (
            first
            and _type(response) in ("text/html", "application/xhtml+xml")
            and chunk.lstrip().startswith(b"<")
        ):
            raise InputError(
                f"{shown} is a web page, not a file; use the address of the file itself, "
                "with the credentials that it requires"
            )
        first = False
        yield chunk


def _ending(response: requests.Response, url: str, form: str, shown: str) -> str:
    if form != "auto":
        return f".{form}"
    query = {value.lower() for _, value in parse_qsl(urlsplit(url).query)}
    names = [_sent_name(response), urlsplit(url).path, urlsplit(response.url).path, *sorted(query)]
    for name in names:
        for ending in sorted(ENDINGS, key=len, reverse=True):
            if name.lower().endswith(ending) or name.lower() == ending[1:]:
                return ending
    found = TYPES.get(_type(response))
    if found is None:
        kinds = ", ".join(ending[1:] for ending in FORMATS)
        raise InputError(
            f"{shown}: neither its name, nor the query, "
            f"nor the server's type ({excerpt(_type(response) or 'none')}) shows the format; "
            f"set data.format to one of {kinds}"
        )
    return found


def _sent_name(response: requests.Response) -> str:
    """Return the file's name in the header Content-Disposition."""
    header = Message()
    header["Content-Disposition"] = response.headers.get("Content-Disposition", "")
    return unquote(header.get_filename() or "")


def _type(response: requests.Response) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d+){3}", host) is not None


def _reason(error: BaseException) -> str:
    """Return the reason of a failure, without any part of the address."""
    chain: list[Any] = [error]
    while (inner := _inner(chain[-1])) is not None and len(chain) < 20:
        chain.append(inner)
    for found in reversed(chain):
        if isinstance(found, socket.gaierror):
            return "the name of the host is not known"
        if isinstance(found, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not trusted ({found.verify_message}); "
                "REQUESTS_CA_BUNDLE names a file with yours"
            )
        if isinstance(found, OSError) and found.strerror and not isinstance(found, requests.RequestException):
            return found.strerror[0].lower() + found.strerror[1:]
    if isinstance(error, requests.Timeout):
        return f"no response within {TIMEOUT[1]:.0f} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the server closed the connection before the file was complete"
    return re.sub(r"(?<!^)(?=[A-Z])", " ", type(error).__name__).lower()


def _inner(error: BaseException) -> BaseException | None:
    for found in (error.__cause__, getattr(error, "reason", None), *error.args, error.__context__):
        if isinstance(found, BaseException) and found is not error:
            return found
    return None
