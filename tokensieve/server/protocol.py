"""The HTTP protocol of the service: uvicorn's, with a limit on the time that a client takes to ask."""

from __future__ import annotations

from asyncio import TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def punctual(seconds: float) -> type[HttpToolsProtocol]:
    """Connections that are closed where no whole head of a request comes within `seconds`, whether nothing or half of one came.

    uvicorn itself waits for ever, and each connection that waits is one fewer that the process may open.
    """

    class Punctual(HttpToolsProtocol):
        _late: TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            # Half a head: of a whole one, the answer is being made now.
            if self.cycle is None or self.cycle.response_complete:
                self._wait()

        def on_headers_complete(self) -> None:
            self._cancel()
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._cancel()
            super().connection_lost(exc)

        def _wait(self) -> None:
            if self._late is None:
                self._late = self.loop.call_later(seconds, self.transport.close)

        def _cancel(self) -> None:
            if self._late:
                self._late.cancel()
                self._late = None

    return Punctual
