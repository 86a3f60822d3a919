"""A service: its process, its log and its health."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tokensieve import packages
from tokensieve.errors import excerpt
from tokensieve.registry.store import without_password

LINES = 5  # of a log, in an error
END_SECONDS = 20.0  # more than the guard needs


@dataclass(frozen=True)
class Service:
    """What is started, and how its health is checked.

    Attributes:
        name: The name for users.
        command: The command line. It contains no credentials.
        environment: Variables in addition to those of this process. They may contain credentials.
        log: The file for its output.
        healthy: Returns whether it responds. The argument is the time of its start, in seconds
            since 1970.
        address: Its address for users.
        folder: Its working directory.
        needed: Returns whether it can start.
        vital: Whether all services end if this one ends again and again.
        responds: Returns whether it responds while it runs. The argument is the id of the process
            that guards it. None: it is not asked.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    healthy: Callable[[float], bool]
    address: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = packages.ROOT
    needed: Callable[[], bool] = lambda: True
    vital: bool = True
    responds: Callable[[int], bool] | None = None


class Process:
    """A started service. It ends with this process, however this process ends."""

    def __init__(self, service: Service) -> None:
        self.service, self.began = service, time.time()
        guard = packages.command("flows.up.guard", str(os.getpid()), *service.command)
        with service.log.open("ab") as output:
            self._popen = subprocess.Popen(
                guard,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **service.environment},
                cwd=service.folder,
                start_new_session=True,  # Ctrl-C is for this process alone
            )

    @property
    def status(self) -> int | None:
        """The exit status. None: it is running."""
        return self._popen.poll()

    @property
    def pid(self) -> int:
        """The id of the process that guards it."""
        return self._popen.pid

    def end(self) -> None:
        """Let it end. The second call ends it at once. Does not wait."""
        with contextlib.suppress(ProcessLookupError):
            self._popen.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """Wait until it has ended."""
        try:
            self._popen.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def reason(self) -> str:
        """Return why it does not run: its exit status, and path and last lines of its log."""
        status = "it did not respond" if self.status is None else f"exit status {self.status}"
        lines = last_lines(self.service.log)
        shown = f"; the last lines of {self.service.log}:\n{lines}" if lines else f"; log: {self.service.log}"
        return status + shown


def last_lines(log: Path) -> str:
    """Return the last lines of a log, indented and without credentials."""
    with contextlib.suppress(FileNotFoundError):
        text = log.read_bytes()[-8192:].decode("utf-8", "replace")
        lines = [line.rstrip() for line in text.splitlines() if line.strip()][-LINES:]
        return "\n".join(f"  {without_password(excerpt(line, 300)[1:-1])}" for line in lines)
    return ""
