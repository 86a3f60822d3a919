"""What every request passes before the service reads it: the key, the limits on its body, and the meters."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tokensieve.server.config import Limits
from tokensieve.server.prometheus import Metrics
from tokensieve.server.unread_bytes import HeldBytes, TooManyBytes

OPEN = ("/health", "/ready")  # without a key, which probes do not have
KNOWN = "tokensieve.known"  # in a request's scope: whether it came with the key, or none is asked for

Endpoint = Callable[[Request], Awaitable[Response]]


class RequestLimits:
    """Refuses requests without the key, and bodies that are too large or too slow, whatever their headers say; measures the others.

    Texts go to `predict` from here: through the framework's layers (middleware, telemetry, routing, dependencies) a request without
    the graph's work takes 0.3 ms of CPU, past them 0.2.
    """

    def __init__(
        self,
        app: ASGIApp,
        predict: Endpoint,
        limits: Limits,
        meters: Metrics,
        held: HeldBytes,
        key: str | None = None,
        root_path: str = "",
    ) -> None:
        self.app, self.predict, self.limits, self.meters, self.held = app, predict, limits, meters, held
        self._key, self._root = key.encode() if key else b"", root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # The connection cancels the task when its client hangs up.
        scope["task"] = asyncio.current_task()
        try:
            await self._enter(scope, receive, send)
        except asyncio.CancelledError:
            if not scope.get("gone"):
                with suppress(RuntimeError):  # a part of the answer was sent already
                    await error_response(
                        503, "the server ends; send the request again", {"Retry-After": "1"}
                    )(scope, receive, send)
        finally:
            del scope["task"]  # which holds the scope

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Some proxies cut their prefix off the path, others do not.
        if self._root and scope["path"].startswith(self._root + "/"):
            scope["path"] = scope["path"][len(self._root) :]
        scope[KNOWN] = not self._key or self._is_known(scope)
        if not scope[KNOWN] and scope["path"] not in OPEN:
            self.meters.requests.labels("401").inc()
            await error_response(
                401, "send the API key as Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"}
            )(scope, receive, send)
            return
        began, seen, status = time.perf_counter(), 0, 500
        ends = asyncio.get_running_loop().time() + self.limits.timeout

        async def counted() -> Message:
            nonlocal seen
            try:
                async with asyncio.timeout_at(ends):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    408, f"the body did not arrive within {self.limits.timeout:g} s"
                ) from None
            size = len(message.get("body", b""))
            if seen + size > self.limits.max_body:
                raise HTTPException(
                    413, f"the body is larger than {self.limits.max_body} bytes; send fewer texts a request"
                )
            try:
                self.held.take(size)
            except TooManyBytes:
                detail = f"the server holds {self.held.most} bytes of requests already; try again later"
                raise HTTPException(503, detail, {"Retry-After": "1"}) from None
            seen += size
            return message

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            if scope["path"] != "/predict":
                await self.app(scope, counted, send)
            elif scope["method"] == "POST":
                response = await self._answer(Request(scope, counted))
                await response(scope, counted, noted)
            else:
                await self.app(scope, counted, noted)
        finally:
            self.held.give_back(seen)
            if scope["path"] == "/predict" and not scope.get("gone"):
                self.meters.seconds.observe(time.perf_counter() - began)
                self.meters.requests.labels(str(status)).inc()

    async def _answer(self, request: Request) -> Response:
        try:
            return await self.predict(request)
        except HTTPException as error:
            return error_response(error.status_code, error.detail, error.headers)

    def _is_known(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:  # of two, a proxy in front may have looked at the other one
            return False
        scheme, _, key = given[0].partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(key.strip(), self._key)


def error_response(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer to a request that is refused."""
    return JSONResponse({"detail": detail}, status_code=status, headers=headers)
