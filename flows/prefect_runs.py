"""Prefect runs of a project: one at a time, with the log on their page; killed ones are closed.

A file lock keeps the runs of a project apart, not a concurrency limit of Prefect. A killed process
releases a file lock at once, but the lease of a limit only after minutes, and a server that
restarts forgets its leases.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import ObjectNotFound
from prefect.logging.handlers import APILogHandler
from prefect.states import Crashed

from flows.events import RunFailed
from flows.notifications import announce
from tokensieve.errors import InputError
from tokensieve.files import locked, read_json, write_json
from tokensieve.project import Layout

# Seconds after which the note of a killed run is deleted if this server does not know the run.
FORGOTTEN = 30 * 24 * 60 * 60
KILLED = "The process of this run was killed. The next run of the project noticed it."

log = logging.getLogger("tokensieve")


class PageHandler(APILogHandler):
    """Send what is logged within a run to the page of the run, and nothing else."""

    def emit(self, record: logging.LogRecord) -> None:
        if FlowRunContext.get() or TaskRunContext.get():
            super().emit(record)


class WithoutTraceback(logging.Filter):
    """Log an InputError as its message alone.

    The message is complete, and the traceback may quote texts.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, InputError):
            record.msg, record.args, record.exc_info = "%s", (str(error),), None
        return True


def log_to_page() -> None:
    """Send our log to the pages of this process's runs.

    PREFECT_LOGGING_EXTRA_LOGGERS need not be set.
    """
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)
    if not any(isinstance(handler, APILogHandler) for handler in log.handlers):
        log.addHandler(PageHandler())
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        if not any(isinstance(known, WithoutTraceback) for known in logger.filters):
            logger.addFilter(WithoutTraceback())


@contextmanager
def alone(layout: Layout, parameters: dict[str, Any], skip: bool, lock: Path | None = None) -> Iterator[bool]:
    """Wait until no other run of the project is in such a block, and yield True.

    Mark killed runs as crashed. With `skip`, yield False at once if a run with the same
    `parameters` is waiting already: it will do the same work. `lock` replaces the lock of the
    project for runs that change nothing in it.
    """
    own, lock = _run_id(), lock or layout.busy
    if own is None:
        # Called outside a flow run.
        with locked(lock):
            yield True
        return
    layout.active.mkdir(parents=True, exist_ok=True)
    close_killed(layout.active, own)
    if skip and parameters in _waiting(layout.active, own):
        yield False
        return
    note, held = layout.active / f"{own}.json", FileLock(layout.active / f"{own}.lock")
    # The lock is acquired before the note is written and released after it is deleted: a note
    # without a lock is dead.
    with held:
        try:
            write_json(note, parameters | {"waits": True})
            with locked(lock):
                write_json(note, parameters | {"waits": False})
                yield True
        finally:
            note.unlink(missing_ok=True)
            note.with_suffix(".lock").unlink(missing_ok=True)


def close_killed(folder: Path, own: str = "") -> None:
    """Mark runs whose process is dead as crashed, and delete their notes in `folder`."""
    dead = [note for note, alive in _notes(folder, own) if not alive]
    if dead:
        with get_client(sync_client=True) as client:
            for note in dead:
                _close(client, note)


def _run_id() -> str | None:
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context and context.flow_run else None


def _waiting(folder: Path, own: str) -> Iterator[dict[str, Any]]:
    """Yield the parameters of the runs that are waiting."""
    for note, alive in _notes(folder, own):
        with contextlib.suppress(FileNotFoundError):  # it has just ended
            known = read_json(note)
            if alive and known.pop("waits"):
                yield known


def _notes(folder: Path, own: str) -> Iterator[tuple[Path, bool]]:
    """Yield the note of each other run and whether its process is alive."""
    for note in sorted(folder.glob("*.json")):
        if note.stem == own:
            continue
        lock = FileLock(note.with_suffix(".lock"), timeout=0)
        try:
            with lock:
                dead = note.exists()
                if not dead:  # it has just ended, and may have deleted its lock itself
                    Path(lock.lock_file).unlink(missing_ok=True)
        except Timeout:
            dead = False
        yield note, not dead


def _close(client: SyncPrefectClient, note: Path) -> None:
    try:
        run = client.read_flow_run(note.stem)  # type: ignore[arg-type]
    except ObjectNotFound:
        # The run is on another server, which a later run may use again.
        if time.time() - note.stat().st_mtime < FORGOTTEN:
            return
    else:
        if run.state is None or not run.state.is_final():
            log.warning("run %s of this project was killed; it is marked as crashed", run.name)
            client.set_flow_run_state(run.id, Crashed(message=KILLED))
            if run.deployment_id:
                announce(Layout(note.parents[2]), RunFailed("", KILLED, run.name))
            for task in client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
            ):
                if task.state and not task.state.is_final():
                    client.set_task_run_state(task.id, Crashed(message=KILLED), force=True)
    note.unlink(missing_ok=True)
    note.with_suffix(".lock").unlink(missing_ok=True)
