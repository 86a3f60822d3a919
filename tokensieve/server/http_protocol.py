"""The HTTP protocol of the service: uvicorn's, with limits on sizes and times, and without upgrades.

uvicorn limits neither a request's head nor its trailers, waits without end for a client that does not send or does not read, and
loses the body of a request that offers another protocol (`Upgrade: h2c`, sent by Java's own client).
"""

from __future__ import annotations

import json
import time
from asyncio import TimerHandle
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tokensieve.server.unread_bytes import HeldBytes

HEAD = (
    64 * 1024
)  # bytes of a request outside its body: request line, headers, chunk extensions and trailers together
FIELDS = 128  # headers and trailers of a request
ALL_HEADS = 16 * 1024 * 1024  # bytes of the heads of all connections together
FREE = 4096  # bytes of a head that do not count towards ALL_HEADS: an ordinary request is never refused for what others send
PIECE = 2048  # bytes that are parsed between two looks at the limits
PIPELINED = (
    16  # requests on one connection that wait for the answer to an earlier one, before no more are parsed
)
ALL_PIPELINED = 4096  # such requests on all connections together
REST = 512 * 1024  # bytes that a connection keeps for later, after which it is closed
FRAME = 5  # bytes of the shortest frame of a chunk: a digit and two line ends
LINGER = 2.0  # seconds in which a client that is still sending may read why it was refused
CUT = 2.0  # seconds after the end was asked for, in which a half-sent body must be completed


@dataclass(frozen=True)
class ConnectionLimits:
    """What one connection may take. `seconds`: for a head to arrive, and for an answer to be read."""

    seconds: float
    connections: int


def connection_class(limits: ConnectionLimits, held: HeldBytes) -> type[HttpToolsProtocol]:
    """Return the class of a server's connections, which count what they hold in `held`."""

    class Connection(LimitedConnection):
        pass

    Connection.limits, Connection.held = limits, held
    return Connection


class LimitedConnection(HttpToolsProtocol):
    """A connection that is refused with status 431 or 503 beyond the limits, and closed if its client is too slow."""

    limits: ConnectionLimits
    held: HeldBytes

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._late: TimerHandle | None = None
        self._ending: TimerHandle | None = None
        self._unread: TimerHandle | None = None
        self._deaf = False  # refused: what still arrives is discarded
        self._in_message = self._head_read = False
        self._answered: RequestResponseCycle | None = None  # the request that is being answered
        self._rest = b""
        self._piped = 0
        self._piece = self._outside = self._fields = self._charged = self._before = 0
        self._answers = self._left = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._closing: Any = _Closing(transport, self._close_after_answer)
        if len(self.connections) > self.limits.connections:
            # Without lingering: a flood of connections must not hold file descriptors.
            self._refuse(503, f"{self.limits.connections} connections are open already; try again later")
            self._end()
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        if len(data) <= PIECE and not self._rest:
            self._feed(data)
        else:
            self._feed_pieces(self._rest + data)
        if not self._deaf and not self._busy and self.timeout_keep_alive_task is None:
            self._wait()

    def _feed_pieces(self, data: bytes) -> None:
        """Parse data piece by piece, and keep what is left when too many requests wait on this connection."""
        view, self._rest = memoryview(data), b""
        for start in range(0, len(data), PIECE):
            if len(self.pipeline) >= PIPELINED:
                self._rest = data[start:]
                self.flow.pause_reading()
                if len(self._rest) > REST:
                    self._stop_listening()
                return
            if not self._feed(view[start : start + PIECE]):
                return

    def _feed_rest(self) -> None:
        if self._rest and not self._deaf and self.parser is not None:
            self._feed_pieces(self._rest)

    def _feed(self, piece: bytes | memoryview) -> bool:
        """Parse a piece and return whether the connection goes on."""
        self._piece = len(piece)
        self._outside += len(piece)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            return self._feed_without_upgrade(piece[upgrade.args[0] :])
        except httptools.HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self._refuse(400, message)
            return False
        self._charge()
        self._count_pipelined()
        if self._outside > HEAD or self._fields > FIELDS:
            self._refuse(
                431,
                f"the request has more than {HEAD} bytes or {FIELDS} lines of headers, chunk extensions and trailers",
            )
        elif self.held.heads > ALL_HEADS and self._charged:
            self._refuse(
                503,
                "the server holds as many bytes of headers as it may; send fewer headers, or try again later",
            )
        return not self._deaf

    def _feed_without_upgrade(self, rest: bytes | memoryview) -> bool:
        """Parse the head again without its offer of another protocol, then what follows it.

        The parser takes what follows an offer for the other protocol, and would hand out no body.
        """
        method, version, counted = (
            self.parser.get_method(),
            self.parser.get_http_version(),
            self._outside - len(rest),
        )
        if method == b"CONNECT":
            self._refuse(400, "Invalid HTTP request received.")
            return False
        lines = [b"%s %s HTTP/%s" % (method, self.url, version.encode("ascii"))]
        for name, value in self.headers:
            if name == b"connection":
                kept = [
                    token
                    for token in value.split(b",")
                    if token.strip().lower() not in (b"upgrade", b"http2-settings")
                ]
                lines += [b"connection: " + b",".join(kept)] if kept else []
            elif name != b"upgrade":
                lines.append(name + b": " + value)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        if not self._feed(b"\r\n".join([*lines, b"", b""])):
            return False
        self._outside = counted
        return self._feed(rest)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._in_message, self._head_read = True, False
        self._outside, self._fields, self._before = self._piece, 0, self._charged

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if not self._head_read:  # a trailer is no header: it comes after the key was looked at
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._cancel_late()
        if self._deaf or self.parser.should_upgrade():
            return
        if self.pipeline and self.held.pipelined + len(self.pipeline) - self._piped >= ALL_PIPELINED:
            self._stop_listening()
            return
        waits = self._busy
        super().on_headers_complete()
        self.cycle.transport = self._closing
        self._head_read = True
        if not waits:
            self._answered = self.cycle

    def on_chunk_header(self) -> None:
        # What every chunk has is limited with the body.
        self._outside -= FRAME

    def on_body(self, body: bytes) -> None:
        self._outside -= len(body)
        if not self._deaf:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._deaf or self.parser.should_upgrade():
            return
        self._in_message = False
        super().on_message_complete()
        if not self._busy:  # the answer, a refusal, was sent before the end of the request
            self._cancel_late()
            self._discharge()
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        self._answers += 1
        if self.pipeline:
            self._answered = self.pipeline[-1][0]
        super().on_response_complete()
        self._count_pipelined()
        if self._rest:
            self.flow.pause_reading()
            self.loop.call_soon(self._feed_rest)
        if not self.pipeline and not self._in_message:
            self._discharge()
        if self._unread is None and self.transport.get_write_buffer_size():
            self.held.unread.add(self.transport)
            self._unread = self.loop.call_later(self.limits.seconds, self._abort_unread, self._answers)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._late, self._ending, self._unread):
            if timer:
                timer.cancel()
        self._late = self._ending = self._unread = None
        self.held.unread.discard(self.transport)
        self._discharge()
        self.pipeline.clear()
        self._count_pipelined()
        self._rest = b""
        super().connection_lost(exc)
        # Not always the last request of the connection, the only one that uvicorn tells.
        if self._answered and not self._answered.response_complete:
            self._answered.disconnected = True
            self._answered.message_event.set()
            _give_up(self._answered.scope)

    def shutdown(self) -> None:
        """End soon: idle connections at once, others when they are answered, and those whose client is too slow by force."""
        super().shutdown()
        if self._deaf or not self._busy:
            self._end()
        else:
            self._ends_at = time.monotonic() + CUT
            self._ending = self.loop.call_later(0.5, self._hurry)

    def _hurry(self) -> None:
        left = self.transport.get_write_buffer_size()
        if left and left >= self._left > 0:
            self.transport.abort()
            return
        self._left = left
        if self._busy and self.cycle.more_body and time.monotonic() > self._ends_at:
            self._refuse(503, "the server ends; send the request again")
        else:
            self._ending = self.loop.call_later(0.5, self._hurry)

    @property
    def _busy(self) -> bool:
        """Whether a request on this connection is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: int, detail: str) -> None:
        """Answer the request that is being read with an error, if it can be answered, and close the connection."""
        if self._busy and not (self._in_message and self._head_read):
            self._stop_listening()
            return
        answerable = not self.pipeline and not (self._busy and self.cycle.response_started)
        self._deaf = True
        self._cancel_late()
        if self._busy:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            _give_up(self.cycle.scope)
        if not answerable:
            self.transport.close()
            return
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
        self.transport.write("\r\n".join(lines).encode() + body)
        self._linger()

    def _close_after_answer(self) -> None:
        if self._in_message and not self._deaf:
            self._deaf = True
            self.flow.resume_reading()
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Close the connection soon. Closed at once, bytes that still arrive would reset it, and the client would not get its answer."""
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._ending = self.loop.call_later(LINGER, self._end)

    def _stop_listening(self) -> None:
        """Answer what was read whole, and close the connection after that."""
        self._deaf = True
        self._rest = b""
        self.cycle.keep_alive = False

    def _end(self) -> None:
        """Close the connection, by force if the client does not read what it was sent."""
        self.transport.close()
        self._ending = self.loop.call_later(LINGER, self.transport.abort)

    def _abort_unread(self, answers: int) -> None:
        self._unread = None
        if self.transport.get_write_buffer_size() and answers == self._answers:
            self.transport.abort()
        elif self.transport.get_write_buffer_size():
            self._unread = self.loop.call_later(self.limits.seconds, self._abort_unread, self._answers)
        else:
            self.held.unread.discard(self.transport)

    def _charge(self) -> None:
        """Count the bytes of the head that are not free."""
        owed = self._before + max(0, self._outside - FREE)
        if owed > self._charged:
            self.held.heads += owed - self._charged
            self._charged = owed

    def _count_pipelined(self) -> None:
        if self._piped != len(self.pipeline):
            self.held.pipelined += len(self.pipeline) - self._piped
            self._piped = len(self.pipeline)

    def _discharge(self) -> None:
        self.held.heads -= self._charged
        self._charged = self._before = 0

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.limits.seconds, self._end)

    def _cancel_late(self) -> None:
        if self._late:
            self._late.cancel()
            self._late = None


class _Closing:
    """A transport for answers, which lets the connection decide how it is closed."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: Any, close: Callable[[], None]) -> None:
        self.write, self.is_closing, self.close = transport.write, transport.is_closing, close


def _give_up(scope: Any) -> None:
    """End the work on a request that nobody waits for any more."""
    scope["gone"] = True
    if task := scope.get("task"):
        task.cancel()
