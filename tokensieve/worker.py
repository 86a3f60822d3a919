"""A worker process of a pool: it ends with the process that started it, and prints nothing."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from tokensieve import packages


def start(parent: int) -> None:
    """Prepare this process as a worker of the process `parent`. Call it before the first task.

    Ctrl-C reaches all processes of a terminal, and `parent` alone reacts to it. If `parent` ends,
    even by kill -9, this process ends too: otherwise it would wait for tasks forever.
    """
    packages.pin()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Progress bars of several workers would overwrite each other. A task's error is returned.
    sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    threading.Thread(target=_end_with, args=[parent], name="end with parent", daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
