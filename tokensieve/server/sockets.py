"""The sockets of the server, its start and its end."""

from __future__ import annotations

import contextlib
import errno
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn

from tokensieve.errors import InputError

log = logging.getLogger("tokensieve")

SPARE = 128  # file descriptors for everything but connections: model files, logs, the registry


class Server(uvicorn.Server):
    """uvicorn's server. It calls `started` once it listens, and `hung_up` on SIGHUP.

    After SIGTERM or SIGINT, `run` returns; `interrupted` is then whether it was SIGINT.
    """

    def __init__(
        self, config: uvicorn.Config, started: Callable[[], None], hung_up: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_start, self._on_hangup = started, hung_up
        self.interrupted = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while serving.

        uvicorn's own method raises them again at the end, so that the process never ends with
        status 0.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers: dict[int, Any] = {signal.SIGINT: self.handle_exit, signal.SIGTERM: self.handle_exit}
        if hasattr(signal, "SIGHUP"):
            handlers[signal.SIGHUP] = self._hang_up
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.interrupted = self.interrupted or sig == signal.SIGINT
        super().handle_exit(sig, frame)

    def _hang_up(self, sig: int, frame: FrameType | None) -> None:
        # On a thread of its own: the interrupted one may hold a lock that is needed.
        threading.Thread(target=self._on_hangup, name="hangup", daemon=True).start()


def bind(host: str, port: int) -> list[socket.socket]:
    """Return sockets that are bound to every address of `host` and do not listen yet.

    Raises:
        InputError: If the host is unknown, or the port is in use or not permitted.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"--host {host} is not an address of this machine ({error}); use 127.0.0.1, or 0.0.0.0 for all "
            "of them"
        ) from None
    bound: list[socket.socket] = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            one = socket.socket(family, kind, protocol)
            bound.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Port 0 is any free one, but the same for all addresses.
            chosen = bound[0].getsockname()[1] if len(bound) > 1 and not port else port
            one.bind((address[0], chosen, *address[2:]))
        except OSError as error:
            for other in bound:
                other.close()
            raise InputError(
                f"cannot listen on {address[0]} port {port} ({error.strerror}); {_remedy(error)}"
            ) from None
    return bound


def _remedy(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "use a port above 1023"
    return (
        "use another --port, or stop the program that uses it"
        if error.errno == errno.EADDRINUSE
        else "use another --host"
    )


def room_for(connections: int) -> int:
    """Raise the limit on open files of this process for `connections` connections.

    Returns:
        The number of connections that it allows.
    """
    if sys.platform == "win32":
        return connections
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < connections + SPARE:
        wanted = connections + SPARE if hard == resource.RLIM_INFINITY else min(hard, connections + SPARE)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if soft < connections + SPARE:
            connections = max(1, soft - SPARE)
            log.warning(
                "at most %d connections: the limit on open files is %d (ulimit -n)", connections, soft
            )
    return connections
