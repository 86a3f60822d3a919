"""Close connections: of slow clients, after a refused request, and when the server shuts down.

uvicorn has no timeout for a client that does not finish a request head or does not read its
response. Such connections would use up the file descriptors and the memory. The classes here extend
private parts of uvicorn: check them against each new version of it
(tests/tokensieve/server/test_attacks.py does).
"""

from __future__ import annotations

import json
import time
from asyncio import TimerHandle
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tokensieve.server.held_bytes import HeldBytes

LINGER = 2.0  # seconds in which a client that is still sending can read why its request was refused
SHUTDOWN_BODY = 2.0  # seconds after the start of a shutdown to complete a body that is being sent


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits on connections.

    `seconds`: to receive a request head, and for the client to read a response.
    """

    seconds: float
    connections: int


class TimedConnection(HttpToolsProtocol):
    """A connection with timeouts, which can refuse a request before it is complete."""

    limits: ConnectionLimits
    held: HeldBytes

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_timer: TimerHandle | None = None
        self._unread_timer: TimerHandle | None = None
        self._close_timer: TimerHandle | None = None
        self._discarding = False  # after a refusal: what still arrives is discarded
        self._in_message = False  # a request has begun and is not complete
        self._head_complete = False  # the head of that request is complete
        self._responses = 0
        self._unsent = 0  # bytes not yet read by the client, during shutdown
        self._body_deadline = 0.0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._response_transport: Any = _ResponseTransport(transport, self._close_after_response)
        if len(self.connections) > self.limits.connections:
            self._refuse(503, f"{self.limits.connections} connections are open already; try again later")
            # Do not linger: a flood of connections must not hold file descriptors.
            self._close()
        else:
            self._start_head_timer()

    def on_response_complete(self) -> None:
        self._responses += 1
        super().on_response_complete()
        if self._unread_timer is None and self.transport.get_write_buffer_size():
            self.held.unread.add(self.transport)
            self._start_unread_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head_timer, self._close_timer, self._unread_timer):
            if timer:
                timer.cancel()
        self._head_timer = self._close_timer = self._unread_timer = None
        self.held.unread.discard(self.transport)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close the connection: at once if it is idle, otherwise after its response."""
        super().shutdown()
        if self._discarding or not self._busy:
            self._close()
        else:
            self._body_deadline = time.monotonic() + SHUTDOWN_BODY
            self._close_timer = self.loop.call_later(0.5, self._check_shutdown)

    def _check_shutdown(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent and unsent >= self._unsent > 0:  # the client has read nothing since the last look
            self.transport.abort()
            return
        self._unsent = unsent
        if self._busy and self.cycle.more_body and time.monotonic() > self._body_deadline:
            self._refuse(503, "the server ends; send the request again")
        else:
            self._close_timer = self.loop.call_later(0.5, self._check_shutdown)

    @property
    def _busy(self) -> bool:
        """Whether the server is responding to a request on this connection."""
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: int, detail: str) -> None:
        """Send an error response to the current request, if possible, and close the connection."""
        if self._busy and not (self._in_message and self._head_complete):
            self._stop_receiving()
            return
        can_respond = not self.pipeline and not (self._busy and self.cycle.response_started)
        self._discarding = True
        self._cancel_head_timer()
        if self._busy:
            abandon(self.cycle)
        if not can_respond:
            self.transport.close()
            return
        self.transport.write(error_bytes(status, detail))
        self._linger()

    def _stop_receiving(self) -> None:
        """Respond to the requests that are complete, then close the connection."""
        self._discarding = True
        self.cycle.keep_alive = False

    def _close_after_response(self) -> None:
        if self._in_message and not self._discarding:
            self._discarding = True
            self.flow.resume_reading()
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Close the connection after `LINGER` seconds.

        If it closed at once, bytes that still arrive would reset it, and the client would lose the
        response.
        """
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._close_timer = self.loop.call_later(LINGER, self._close)

    def _close(self) -> None:
        """Close the connection, by force if the client does not read the rest of its response."""
        self.transport.close()
        self._close_timer = self.loop.call_later(LINGER, self.transport.abort)

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.seconds, self._close)

    def _cancel_head_timer(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None

    def _start_unread_timer(self) -> None:
        self._unread_timer = self.loop.call_later(self.limits.seconds, self._check_unread, self._responses)

    def _check_unread(self, responses: int) -> None:
        """Abort the connection if its client has read no whole response since the timer began."""
        self._unread_timer = None
        if not self.transport.get_write_buffer_size():
            self.held.unread.discard(self.transport)
        elif responses == self._responses:
            self.transport.abort()
        else:
            self._start_unread_timer()


class _ResponseTransport:
    """A transport for responses, whose `close` is decided by the connection."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: Any, close: Callable[[], None]) -> None:
        self.write, self.is_closing, self.close = transport.write, transport.is_closing, close


def abandon(cycle: Any) -> None:
    """Stop the work on a request whose client no longer waits for the response."""
    cycle.disconnected = True
    cycle.message_event.set()
    cycle.scope["gone"] = True
    if task := cycle.scope.get("task"):
        task.cancel()


def error_bytes(status: int, detail: str) -> bytes:
    """Return an HTTP/1.1 error response: plain text for status 400, otherwise JSON."""
    plain = status == 400
    body = detail.encode() if plain else json.dumps({"detail": detail}).encode()
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"content-type: {'text/plain; charset=utf-8' if plain else 'application/json'}",
        f"content-length: {len(body)}",
        "connection: close",
        *(["retry-after: 1"] if status == 503 else []),
        "\r\n",
    ]
    return "\r\n".join(lines).encode() + body
