"""Run one stage, by command or in a flow.

It is skipped if it is current, and recorded in dvc.lock after it has run.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from tasks.durations import keep_seconds, last_seconds
from tasks.ingest import ingest
from tasks.tracking import registry_check
from tasks.versioning import dvc_pipeline
from tasks.versioning.dvc_repo import Repo, opened
from tasks.versioning.external_inputs import note_base, note_suite
from tokensieve.disk import report_full_disk
from tokensieve.errors import InputError
from tokensieve.files import note_step
from tokensieve.progress import log_while_running
from tokensieve.project import Layout
from tokensieve.settings import Settings

if TYPE_CHECKING:
    from tasks.promotion.gate_report import GateReport

AUDIT, REGISTER = "audit", "register"
# Stage NAME is function NAME of tasks/NAME.py. It is imported when it runs: a skipped stage costs
# no import.
STAGES = (
    "validate",
    "split",
    "vocabulary",
    AUDIT,
    "mask",
    "finetune",
    "evaluate",
    "export",
    REGISTER,
)
LONG = 10.0  # seconds; after a longer run, the log names its duration when the stage starts again

log = logging.getLogger("tokensieve")


def run_ingest(
    layout: Layout, settings: Settings, data: str | None, test: str | None = None, origin: str = ""
) -> float:
    """Run `ingest` and note the other inputs.

    Return the seconds it took. Raises as `ingest` does.
    """
    with _timed(layout, "ingest") as seconds:
        ingest(layout, settings, data, test, origin)
        note_base(layout, settings)
        note_suite(layout, settings)
        return keep_seconds(layout.seconds, "ingest", seconds())


def check_registry(layout: Layout, settings: Settings, force: bool = False) -> float:
    """Check that a model can be registered, and note the champion. Return the seconds it took.

    Raises:
        InputError: If the experiment of the runs is deleted.
        RegistryError: If the registry does not respond.
    """
    with _timed(layout, "registry") as seconds:
        registry_check.prepare_registry(layout, settings)
        registry_check.note_champion(layout, settings, force)
        return keep_seconds(layout.seconds, "registry", seconds())


def run_gate(layout: Layout, settings: Settings) -> tuple[GateReport | None, float | None]:
    """Compare the registered challenger with the champion, and keep the report.

    Returns:
        The report, and the seconds it took. No report: `gate.mode` is off, or the version is the
        champion already. No seconds: the kept report still holds, or there was nothing to compare.

    Raises:
        InputError: If the challenger cannot be loaded.
        RegistryError: If the registry does not respond.
    """
    from tasks.promotion.gate_challenger import gate_challenger

    with _timed(layout, "gate") as seconds:
        report, is_new = gate_challenger(layout, settings)
        if not is_new:
            return report, None
    log.info("%-10s %.1f s", "gate", seconds())
    return report, keep_seconds(layout.seconds, "gate", seconds())


def run_report(layout: Layout, settings: Settings) -> float | None:
    """Write the report of the run. Return the seconds it took, None if it was current.

    Raises:
        RegistryError: If the registry does not respond.
    """
    from tasks.reporting.write_report import is_current, write_report

    with _timed(layout, "report") as seconds:
        if is_current(layout):
            return None
        write_report(layout, settings)
    log.info("%-10s %.1f s", "report", seconds())
    return keep_seconds(layout.seconds, "report", seconds())


def run_if_stale(layout: Layout, name: str, force: bool = False) -> float | None:
    """Run stage `name` unless it is current. Return the seconds it took, None if it was current.

    A stage of the user's own runs as `dvc repro` runs it.

    Raises:
        InputError: If an input is missing or changes while the stage runs, or if the disk is full.
            Nothing is recorded then. Also as the stage itself raises it.
    """
    with _timed(layout, name) as seconds, opened(layout) as repo:
        run = _run_ours if dvc_pipeline.is_ours(layout, name) else dvc_pipeline.reproduce
        if not run(layout, repo, name, force):
            log.info("%-10s unchanged", name)
            return None
    log.info("%-10s %.1f s", name, seconds())
    return keep_seconds(layout.seconds, name, seconds())


def function_of(name: str) -> Callable[[Layout, Settings], object]:
    """Return the function of stage `name`.

    Raises:
        InputError: If there is no such stage.
    """
    if name not in STAGES:
        raise InputError(f"there is no stage '{name}'; stages: {', '.join(STAGES)}")
    found: Callable[[Layout, Settings], object] = getattr(importlib.import_module(f"tasks.{name}"), name)
    return found


def _run_ours(layout: Layout, repo: Repo, name: str, force: bool) -> bool:
    before = dvc_pipeline.inputs(layout, repo, name)
    if not force and dvc_pipeline.is_current(layout, repo, name) and not _must_register(layout, name):
        return False
    last = last_seconds(layout.seconds).get(name, 0.0)
    log.info("%-10s ...%s", name, f" {last:.0f} s last time" if last >= LONG else "")
    function_of(name)(layout, Settings.load(layout.params))
    after = dvc_pipeline.inputs(layout, repo, name)
    changed = [path for path, value in after.items() if before[path] != value]
    if changed:
        raise InputError(f"{', '.join(changed)} changed while stage {name} ran; run it again")
    dvc_pipeline.record(layout, repo, name)
    return True


def _must_register(layout: Layout, name: str) -> bool:
    """Return whether this is the stage register, and the registry has lost what it registered."""
    return name == REGISTER and not registry_check.is_registered(layout, Settings.load(layout.params))


@contextmanager
def _timed(layout: Layout, name: str) -> Iterator[Callable[[], float]]:
    """Log from time to time that step `name` is running.

    Yield a function that returns the seconds since its start.
    """
    start = time.perf_counter()
    note_step(layout.busy, name)
    with log_while_running(name, last_seconds(layout.seconds).get(name)), report_full_disk(layout.root):
        yield lambda: time.perf_counter() - start


LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


def is_transient(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Return whether a retry may succeed: a server or a disk may come back, bad input stays bad."""
    try:
        state.result()
    except LASTING:
        return False
    except OSError:
        return True
    except Exception as error:
        # By name: MLflow is imported in few modules only.
        names = {kind.__name__ for kind in type(error).__mro__}
        return bool(names & {"MlflowException", "FileTransferError"})
    return False


_retried: Any = partial(
    task, retries=2, retry_delay_seconds=[5, 30], retry_condition_fn=is_transient, persist_result=False
)
ingest_task = _retried(run_ingest, name="ingest", task_run_name="ingest")
registry_task = _retried(check_registry, name="registry", task_run_name="registry")
gate_task = _retried(run_gate, name="gate", task_run_name="gate")
report_task = _retried(run_report, name="report", task_run_name="report")
stage_task = _retried(run_if_stale, name="stage", task_run_name="{name}")
