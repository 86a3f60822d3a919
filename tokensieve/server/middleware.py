"""ASGI middleware: check the API key, body size and upload time, and record metrics."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Mapping
from contextlib import suppress

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tokensieve.server.config import Limits
from tokensieve.server.console_page import is_page_request
from tokensieve.server.held_bytes import HeldBytes, TooManyBytes
from tokensieve.server.prometheus import Metrics

OPEN = ("/health", "/ready")  # paths that need no key: probes do not have it
HAS_KEY = "tokensieve.has_key"  # in a request's scope: True if the key is right or not needed


class RequestLimits:
    """Refuse requests without the API key, and bodies that are too large or too slow."""

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        metrics: Metrics,
        held: HeldBytes,
        key: str | None = None,
        root_path: str = "",
        console: bool = False,
    ) -> None:
        """Wrap an application.

        Args:
            app: The application.
            limits: The limits on a body.
            metrics: Where the requests are counted.
            held: The counter of the bytes of all requests.
            key: The API key; None if requests need none.
            root_path: Path prefix of a proxy in front.
            console: Whether the files of the web page need no key.
        """
        self.app = app
        self._limits, self._metrics, self._held = limits, metrics, held
        self._key, self._root, self._console = key.encode() if key else b"", root_path, console

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # The connection cancels this task when the client disconnects.
        scope["task"] = asyncio.current_task()
        try:
            await self._handle(scope, receive, send)
        except asyncio.CancelledError:
            if not scope.get("gone"):
                response = error_response(
                    503, "the server ends; send the request again", {"Retry-After": "1"}
                )
                with suppress(RuntimeError):  # if a part of the response was sent already
                    await response(scope, receive, send)
        finally:
            del scope["task"]  # the task refers to the scope: a reference cycle

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Some proxies remove their prefix from the path, others do not.
        if self._root and f"{scope['path']}/".startswith(self._root + "/"):
            scope["path"] = scope["path"][len(self._root) :] or "/"
        scope[HAS_KEY] = not self._key or self._has_key(scope)
        if not scope[HAS_KEY] and not self._is_open(scope):
            self._metrics.requests.labels("401").inc()
            wanted = "send the API key as Authorization: Bearer KEY"
            await error_response(401, wanted, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
            return
        body = _LimitedBody(receive, self._limits, self._held)
        began, status = time.perf_counter(), 500

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, body.receive, send_and_note_status)
        finally:
            self._held.give_back(body.size)
            if scope["path"] == "/predict" and not scope.get("gone"):
                self._metrics.seconds.observe(time.perf_counter() - began)
                self._metrics.requests.labels(str(status)).inc()

    def _is_open(self, scope: Scope) -> bool:
        return scope["path"] in OPEN or (self._console and is_page_request(scope))

    def _has_key(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:  # with two, a proxy in front may have checked the other one
            return False
        scheme, _, key = given[0].partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(key.strip(), self._key)


class _LimitedBody:
    """The body of one request, counted while it arrives. `size` is the number of bytes so far."""

    def __init__(self, receive: Receive, limits: Limits, held: HeldBytes) -> None:
        self.size = 0
        self._receive, self._limits, self._held = receive, limits, held
        self._ends = asyncio.get_running_loop().time() + limits.timeout

    async def receive(self) -> Message:
        """Return the next ASGI message of the request.

        Raises:
            HTTPException: With status 408 or 413 if the body is too slow or too large, with 503 if
                the server holds as many bytes as it may.
        """
        try:
            async with asyncio.timeout_at(self._ends):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, f"the body did not arrive within {self._limits.timeout:g} s") from None
        size = len(message.get("body", b""))
        if self.size + size > self._limits.max_body:
            detail = f"the body is larger than {self._limits.max_body} bytes; send fewer texts a request"
            raise HTTPException(413, detail)
        try:
            self._held.take(size)
        except TooManyBytes:
            detail = f"the server holds {self._held.most} bytes of requests already; try again later"
            raise HTTPException(503, detail, {"Retry-After": "1"}) from None
        self.size += size
        return message


def error_response(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response to a request that is refused."""
    return JSONResponse({"detail": detail}, status_code=status, headers=headers)
