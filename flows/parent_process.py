"""Notice that the process that started this one has ended, also if it was killed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

INTERVAL = 0.5  # seconds


def call_when_ended(parent: int, action: Callable[[], object]) -> None:
    """Call `action` in a thread when `parent`, the id of this process's parent, has ended."""
    threading.Thread(target=_wait, args=[parent, action], name="parent", daemon=True).start()


def _wait(parent: int, action: Callable[[], object]) -> None:
    # A process whose parent has ended gets another parent.
    while os.getppid() == parent:
        time.sleep(INTERVAL)
    action()
