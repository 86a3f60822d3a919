"""Running one stage, wherever it is asked for: skipped when it is current, recorded in dvc.lock when it has run."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from prefect import task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from tasks import dvc_pipeline, moved_project, registration
from tasks.project_identity import given_identity
from tasks.record import base_facts
from tasks.stage_times import last_seconds, note_seconds
from tasks.upgrade import never_cached
from tokensieve.disk import report_full_disk
from tokensieve.errors import InputError
from tokensieve.files import read_json_or_none, write_json
from tokensieve.progress import log_while_running
from tokensieve.project import Layout
from tokensieve.registry.store import tracking_uri
from tokensieve.settings import Settings

# Stage NAME is function NAME of tasks/NAME.py. It is imported when it runs: a run that skips a stage does not pay for its imports.
STAGES = ("validate", "split", "vocabulary", "mask", "finetune", "evaluate", "export", "register")

REGISTER = "register"
LONG = 10.0  # seconds: if a stage took longer last time, that is logged when it starts

log = logging.getLogger("tokensieve")


def function_of(name: str) -> Callable[[Layout, Settings], object]:
    """The function of a stage. Raises InputError for a name that is no stage."""
    if name not in STAGES:
        raise InputError(f"'{name}' is no stage; stages: {', '.join(STAGES)}")
    found: Callable[[Layout, Settings], object] = getattr(importlib.import_module(f"tasks.{name}"), name)
    return found


def run_if_stale(layout: Layout, name: str, force: bool = False) -> float | None:
    """Seconds that stage `name` took, None if it was current. A stage of the user's own runs as `dvc repro` would run it.

    Raises:
        InputError: what it reads is not there, or changed while it ran; nothing is recorded then. The disk is full. And as the
            stage does.
    """
    start = time.perf_counter()
    with log_while_running(name, last_seconds(layout.seconds).get(name)), report_full_disk(layout.root):
        ran = (
            _run(layout, name, force)
            if dvc_pipeline.is_ours(layout, name)
            else dvc_pipeline.reproduce(layout, name, force)
        )
    if not ran:
        log.info("%-10s unchanged", name)
        return None
    seconds = time.perf_counter() - start
    log.info("%-10s %.1f s", name, seconds)
    note_seconds(layout.seconds, name, seconds)
    return seconds


def _run(layout: Layout, name: str, force: bool) -> bool:
    before = dvc_pipeline.inputs(layout, name)
    if not force and dvc_pipeline.is_current(layout, name) and (name != REGISTER or _is_registered(layout)):
        return False
    last = last_seconds(layout.seconds).get(name, 0.0)
    log.info("%-10s ...%s", name, f" {last:.0f} s last time" if last >= LONG else "")
    function = function_of(name)
    function(layout, Settings.load(layout.params))
    changed = [key for key, value in dvc_pipeline.inputs(layout, name).items() if before[key] != value]
    if changed:
        raise InputError(f"{', '.join(changed)} changed while stage {name} ran; run it again")
    dvc_pipeline.commit(layout, name)
    return True


def take_in(
    layout: Layout, settings: Settings, data: str | None, test: str | None = None, force: bool = False
) -> float:
    """Version the raw data (`versioning.version`), and note what this run needs to know of the registry; seconds taken.

    Validation compares new data with the champion. Data that have been validated are not compared with a later one: nothing is to
    be done on account of a promotion alone. With `force` they are. The content of a base model's own folder is noted, too.

    Raises:
        InputError: As `versioning.version`, or if the experiment of the runs is deleted.
        RegistryError: If the registry gives no answer.
    """
    start = time.perf_counter()
    with (
        log_while_running("version", last_seconds(layout.seconds).get("version")),
        report_full_disk(layout.root),
    ):
        dvc_pipeline.version(layout, settings, data, test)
        moved_project.follow(layout, tracking_uri(layout, settings))
        registration.check_experiment(layout, settings)
        given_identity(layout, settings)
        never_cached(layout.pipeline, REGISTER)
        _note(layout.base, base_facts(layout, settings))
        champion = registration.champion(layout, settings)
        if force or not layout.champion.exists() or not dvc_pipeline.is_unchanged(layout, "validate"):
            _note(layout.champion, champion)
    seconds = time.perf_counter() - start
    note_seconds(layout.seconds, "version", seconds)
    return seconds


def _note(path: Path, facts: dict[str, Any]) -> None:
    """Write `facts` if they are new: DVC finds a stage stale that reads them. What a merge left there does not matter."""
    if read_json_or_none(path) != facts:
        write_json(path, facts)


def _is_registered(layout: Layout) -> bool:
    return registration.is_registered(layout, Settings.load(layout.params))


# Of the errors of the system, those that stay.
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


def _transient(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether another try may mend it: a server or a disk may come back, bad input will not get better."""
    try:
        state.result()
    except _LASTING:
        return False
    except OSError:
        return True
    except Exception as error:
        # By name: each vendor is imported in one module only.
        return not {"MlflowException", "FileTransferError"}.isdisjoint(
            kind.__name__ for kind in type(error).__mro__
        )
    return False


_retried: Any = partial(
    task, retries=2, retry_delay_seconds=[5, 30], retry_condition_fn=_transient, persist_result=False
)
version_data = _retried(take_in, name="version")
run_stage = _retried(run_if_stale, name="stage", task_run_name="{name}")
