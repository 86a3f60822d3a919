"""uvicorn's HTTP/1.1 protocol with limits on request heads and pipelining, and without upgrades.

uvicorn limits neither the head nor the trailers of a request. It also loses the body of a request
that offers another protocol (`Upgrade: h2c`, which Java's own client sends).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tokensieve.server.held_bytes import HeldBytes
from tokensieve.server.timeouts import ConnectionLimits, TimedConnection, abandon

# "Head" here means all bytes of a request outside its body: the request line, headers, chunk
# extensions and trailers.
MAX_HEAD = 64 * 1024  # bytes
MAX_FIELDS = 128  # headers and trailers of one request
MAX_ALL_HEADS = 16 * 1024 * 1024  # bytes of the heads of all connections together
UNCOUNTED = 4096  # bytes of each head not in MAX_ALL_HEADS, so that ordinary requests pass
PIECE = 2048  # bytes parsed between two checks of the limits
MAX_PIPELINED = 16  # requests that wait on one connection before parsing pauses
MAX_ALL_PIPELINED = 4096  # such requests on all connections together
MAX_UNPARSED = 512 * 1024  # bytes that a connection keeps for later parsing; with more it is closed
CHUNK_FRAME = 5  # bytes of the shortest frame of a chunk: one digit and two line ends
INVALID = "Invalid HTTP request received."


def connection_class(limits: ConnectionLimits, held: HeldBytes) -> type[HttpToolsProtocol]:
    """Return the class of a server's connections. They count the bytes that they hold in `held`."""

    class Connection(LimitedConnection):
        pass

    Connection.limits, Connection.held = limits, held
    return Connection


class LimitedConnection(TimedConnection):
    """A connection that refuses requests beyond the limits, with status 431 or 503."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._responding: RequestResponseCycle | None = None  # the current request
        self._unparsed = b""
        self._pipelined = 0  # of `self.pipeline`, counted in `held`
        self._piece = 0  # bytes of the piece that is being parsed
        self._head = self._fields = 0  # of the current request
        self._counted = self._counted_before = (
            0  # bytes in `held.heads`: of this connection, of earlier requests
        )

    def data_received(self, data: bytes) -> None:
        if self._discarding:
            return
        self._unset_keepalive_if_required()
        if len(data) <= PIECE and not self._unparsed:
            self._parse(data)
        else:
            self._parse_pieces(self._unparsed + data)
        if not self._discarding and not self._busy and self.timeout_keep_alive_task is None:
            self._start_head_timer()

    def _parse_pieces(self, data: bytes) -> None:
        """Parse data piece by piece.

        Keep the rest for later if too many requests wait on this connection.
        """
        view, self._unparsed = memoryview(data), b""
        for start in range(0, len(data), PIECE):
            if len(self.pipeline) >= MAX_PIPELINED:
                self._unparsed = data[start:]
                self.flow.pause_reading()
                if len(self._unparsed) > MAX_UNPARSED:
                    self._stop_receiving()
                return
            if not self._parse(view[start : start + PIECE]):
                return

    def _parse_rest(self) -> None:
        if self._unparsed and not self._discarding and self.parser is not None:
            self._parse_pieces(self._unparsed)

    def _parse(self, piece: bytes | memoryview) -> bool:
        """Parse a piece. Return whether the connection goes on."""
        self._piece = len(piece)
        self._head += len(piece)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            return self._parse_without_upgrade(piece[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.logger.warning(INVALID)
            self._refuse(400, INVALID)
            return False
        self._count_head()
        self._count_pipelined()
        if self._head > MAX_HEAD or self._fields > MAX_FIELDS:
            kinds = "headers, chunk extensions and trailers"
            self._refuse(431, f"the request has more than {MAX_HEAD} bytes or {MAX_FIELDS} lines of {kinds}")
        elif self.held.heads > MAX_ALL_HEADS and self._counted:
            reason = "the server holds as many bytes of headers as it may"
            self._refuse(503, f"{reason}; send fewer headers, or try again later")
        return not self._discarding

    def _parse_without_upgrade(self, rest: bytes | memoryview) -> bool:
        """Parse the head again without its offer of another protocol, then the bytes after it.

        The parser reads the bytes after such an offer as the other protocol, so it would return no
        body.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version()
        head = self._head - len(rest)
        if method == b"CONNECT":
            self._refuse(400, INVALID)
            return False
        lines = [
            b"%s %s HTTP/%s" % (method, self.url, version.encode("ascii")),
            *_without_upgrade(self.headers),
        ]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        if not self._parse(b"\r\n".join([*lines, b"", b""])):
            return False
        self._head = head
        return self._parse(rest)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._in_message, self._head_complete = True, False
        self._head, self._fields, self._counted_before = self._piece, 0, self._counted

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        # A trailer is not a header: it arrives after the API key was checked.
        if not self._head_complete:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._cancel_head_timer()
        if self._discarding or self.parser.should_upgrade():
            return
        if self.pipeline and self.held.pipelined + len(self.pipeline) - self._pipelined >= MAX_ALL_PIPELINED:
            self._stop_receiving()
            return
        waits = self._busy
        super().on_headers_complete()
        self.cycle.transport = self._response_transport
        self._head_complete = True
        if not waits:
            self._responding = self.cycle

    def on_chunk_header(self) -> None:
        # The shortest frame of a chunk is limited with the body.
        self._head -= CHUNK_FRAME

    def on_body(self, body: bytes) -> None:
        self._head -= len(body)
        if not self._discarding:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._discarding or self.parser.should_upgrade():
            return
        self._in_message = False
        super().on_message_complete()
        if not self._busy:  # an error response was sent before the request was complete
            self._cancel_head_timer()
            self._uncount_head()
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        if self.pipeline:
            self._responding = self.pipeline[-1][0]
        super().on_response_complete()
        self._count_pipelined()
        if self._unparsed:
            self.flow.pause_reading()
            self.loop.call_soon(self._parse_rest)
        if not self.pipeline and not self._in_message:
            self._uncount_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._uncount_head()
        self.pipeline.clear()
        self._count_pipelined()
        self._unparsed = b""
        super().connection_lost(exc)
        # uvicorn notifies only the last request of a connection, which with pipelining may be
        # another one.
        if self._responding and not self._responding.response_complete:
            abandon(self._responding)

    def _stop_receiving(self) -> None:
        self._unparsed = b""
        super()._stop_receiving()

    def _count_head(self) -> None:
        """Count the bytes of the head above `UNCOUNTED` in `held`."""
        count = self._counted_before + max(0, self._head - UNCOUNTED)
        if count > self._counted:
            self.held.heads += count - self._counted
            self._counted = count

    def _uncount_head(self) -> None:
        self.held.heads -= self._counted
        self._counted = self._counted_before = 0

    def _count_pipelined(self) -> None:
        if self._pipelined != len(self.pipeline):
            self.held.pipelined += len(self.pipeline) - self._pipelined
            self._pipelined = len(self.pipeline)


def _without_upgrade(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[bytes]:
    """Yield header lines, without those that offer another protocol."""
    for name, value in headers:
        if name == b"connection":
            tokens = [token for token in value.split(b",") if not _offers_upgrade(token)]
            if tokens:
                yield b"connection: " + b",".join(tokens)
        elif name != b"upgrade":
            yield name + b": " + value


def _offers_upgrade(token: bytes) -> bool:
    return token.strip().lower() in (b"upgrade", b"http2-settings")
