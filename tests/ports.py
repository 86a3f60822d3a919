"""TCP ports for the servers that tests start."""

from __future__ import annotations

import os
import random
import socket

# Below the ports that the system gives to connections, and above one that Chromium refuses. Each
# process of pytest-xdist has ports of its own, in an order of its own.
_FIRST, _LAST = 10_081, 32_000
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_OWN = range(_FIRST + _WORKER, _LAST, _WORKERS)
_PORTS = iter(random.Random(os.getpid()).sample(_OWN, len(_OWN)))


def free_port() -> int:
    """Return a TCP port that is free, and that stays free until a server of the test takes it.

    None is returned twice, and the system gives it to no other program.
    """
    for port in _PORTS:
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")
