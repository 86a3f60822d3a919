"""Start services, wait until they are healthy, start those again that end or hang, and end all."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from flows.up.service import Process, Service
from tokensieve.errors import InputError

STARTUP_SECONDS = 300.0  # a busy machine takes up to a minute
INTERVAL = 0.3
# A service that ends starts again after 1, 2, 4, 8 and 16 seconds. The sixth end of a vital one in
# a row ends all.
FAILURES = 5
LONGEST = 60  # seconds to the next start of a service that is not vital
STABLE_SECONDS = 60.0  # after which earlier failures are forgotten
# A service that runs is asked once per `LOOK_SECONDS`. If it does not respond `SILENT_LOOKS` times
# in a row, it hangs and is ended. On a machine that is only busy it responds once in that time.
LOOK_SECONDS, SILENT_LOOKS = 60.0, 5

log = logging.getLogger("tokensieve")


class StoppedError(Exception):
    """A signal arrived."""


class ServiceFailedError(Exception):
    """A service ended too often. The message names it."""


@dataclass
class _Watched:
    """A service that is kept running. `process` is None while it does not run."""

    service: Service
    process: Process | None = None
    failures: int = 0
    healthy_since: float = 0.0  # 0: not healthy yet
    again: float = field(default=0.0)  # the time of the next start
    next_look: float = 0.0
    silent_looks: int = 0  # in a row


class Supervisor:
    """The services that are kept running.

    Args:
        stop: Is set when a signal arrives.
        report: Is called with a service each time that it has become healthy.
    """

    def __init__(self, stop: threading.Event, report: Callable[[Service], None]) -> None:
        self._stop, self._report = stop, report
        self._watched: list[_Watched] = []

    def start(self, services: Sequence[Service]) -> None:
        """Start services and wait until all are healthy.

        Raises:
            InputError: If one ends, or does not respond within `STARTUP_SECONDS`.
            StoppedError: If a signal arrives.
        """
        fresh = [_Watched(service, Process(service)) for service in services]
        self._watched += fresh
        end = time.monotonic() + STARTUP_SECONDS
        while waiting := [known for known in fresh if not self._is_healthy(known)]:
            for known in waiting:
                assert known.process
                if known.process.status is not None or time.monotonic() > end:
                    raise InputError(f"{known.service.name} did not start: {known.process.reason()}")
            self._wait(INTERVAL)

    def run(self, service: Service) -> None:
        """Run a program to its end.

        Raises:
            InputError: If its exit status is not 0.
            StoppedError: If a signal arrives.
        """
        known = _Watched(service, Process(service))
        self._watched.append(known)
        assert known.process
        while known.process.status is None:
            self._wait(INTERVAL)
        self._watched.remove(known)
        if known.process.status:
            raise InputError(f"{service.name} failed: {known.process.reason()}")

    def watch(self, later: Sequence[Service], each: Callable[[], None] = lambda: None) -> None:
        """Keep the services running until a signal arrives.

        Start those of `later` when they are needed. Call `each` every `INTERVAL` seconds.

        Raises:
            StoppedError: If a signal arrives.
            ServiceFailedError: If a service ended too often.
        """
        self._watched += [_Watched(service) for service in later]
        while True:
            for known in self._watched:
                self._look_after(known)
            each()
            self._wait(INTERVAL)

    def end(self) -> None:
        """End all services, the last started first. A second signal ends them at once."""
        running = [known.process for known in reversed(self._watched) if known.process]
        self._stop.clear()
        for process in running:
            process.end()
            while process.status is None and not self._stop.wait(INTERVAL):
                pass
            if self._stop.is_set():
                break
        for process in running:
            process.end()
        for process in running:
            process.wait()

    def _look_after(self, known: _Watched) -> None:
        now = time.monotonic()
        if known.process is None:
            if now >= known.again and known.service.needed():
                known.process, known.healthy_since = Process(known.service), 0.0
                known.silent_looks = 0
        elif known.process.status is not None:
            self._plan(known, now)
        elif not known.healthy_since:
            late = time.time() - known.process.began > STARTUP_SECONDS
            if not self._is_healthy(known) and late and now >= known.next_look:
                log.warning("%s is not ready after %d s: it is ended", known.service.name, STARTUP_SECONDS)
                known.process.end()
                known.next_look = now + LOOK_SECONDS
        else:
            if now - known.healthy_since > STABLE_SECONDS:
                known.failures = 0
            if known.service.responds and now >= known.next_look:
                self._end_if_it_hangs(known, known.service.responds(known.process.pid))
                known.next_look = now + LOOK_SECONDS

    def _end_if_it_hangs(self, known: _Watched, responds: bool) -> None:
        """Count the looks without a response, and end the service after too many."""
        assert known.process
        known.silent_looks = 0 if responds else known.silent_looks + 1
        if known.silent_looks >= SILENT_LOOKS:
            log.warning(
                "%s has not responded for %d s: it is ended",
                known.service.name,
                known.silent_looks * LOOK_SECONDS,
            )
            known.process.end()  # at the next look, too, if it is still there: then at once

    def _plan(self, known: _Watched, now: float) -> None:
        """Plan the next start of a service that has ended.

        Raises:
            ServiceFailedError: If it ended too often.
        """
        assert known.process
        reason, name = known.process.reason(), known.service.name
        known.failures += 1
        if known.failures > FAILURES and known.service.vital:
            raise ServiceFailedError(f"{name} ended {known.failures} times in a row: {reason}")
        seconds = min(2 ** (known.failures - 1), LONGEST)
        log.warning("%s ended: %s\n%s starts again in %d s", name, reason, name, seconds)
        known.process, known.again = None, now + seconds

    def _is_healthy(self, known: _Watched) -> bool:
        if known.healthy_since:
            return True
        if known.process and known.service.healthy(known.process.began):
            known.healthy_since = time.monotonic()
            self._report(known.service)
        return bool(known.healthy_since)

    def _wait(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise StoppedError
