"""HTTP requests with a deadline for the whole response, and credentials for one host only.

A server that sends a byte at a time, or without end, cannot keep a caller waiting.
"""

from __future__ import annotations

import io
import socket
import time
from functools import partial
from http.client import HTTPConnection, HTTPMessage, HTTPResponse, HTTPSConnection
from typing import IO, Any
from urllib.parse import urljoin, urlsplit
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from tokensieve.errors import InputError
from tokensieve.registry.certificates import tls_context

TIMEOUT = 5.0  # seconds without a byte


def open_url(request: Request, deadline: float) -> HTTPResponse:
    """Return the response to `request`.

    Its head and body arrive before `deadline` on the monotonic clock.

    Raises:
        InputError: If the server redirects to another host, or the TLS settings are invalid.
        OSError, HTTPException: If the request fails, also while the body is read.
    """
    secure = [_Https(deadline)] if request.full_url.startswith("https:") else []
    opener = build_opener(_SameHost, _Http(deadline), *secure)
    response: HTTPResponse = opener.open(request, timeout=TIMEOUT)
    return response


class _SameHost(HTTPRedirectHandler):
    """Follow redirects only within the same host and port: the credentials go with them."""

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


class _DeadlineReader(io.RawIOBase):
    """Read the bytes of a socket until a deadline.

    The timeout of the socket itself would restart with each byte.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw, self._socket, self._deadline = raw, sock, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        self._socket.settimeout(min(TIMEOUT, left))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    """A response that must be read before a deadline."""

    def __init__(self, sock: socket.socket, *args: Any, deadline: float, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_DeadlineReader(self.fp.detach(), sock, deadline))


class _Plain(HTTPConnection):
    def __init__(self, *args: Any, deadline: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self.response_class = partial(_Response, deadline=deadline)  # type: ignore[assignment]


class _Secure(HTTPSConnection):
    def __init__(self, *args: Any, deadline: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self.response_class = partial(_Response, deadline=deadline)  # type: ignore[assignment]


class _Http(HTTPHandler):
    def __init__(self, deadline: float) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_Plain, req, deadline=self._deadline)  # type: ignore[arg-type]


class _Https(HTTPSHandler):
    def __init__(self, deadline: float) -> None:
        self._deadline, self._tls = deadline, tls_context()
        super().__init__(context=self._tls)

    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_Secure, req, deadline=self._deadline, context=self._tls)  # type: ignore[arg-type]
