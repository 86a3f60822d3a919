"""Running one stage, wherever it is asked for: skipped when it is current, recorded in dvc.lock when it has run."""

from __future__ import annotations

import importlib
import logging
import shutil
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from prefect import task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from tasks import versioning
from tokensieve.errors import InputError
from tokensieve.folder import read_json, write_json
from tokensieve.layout import Layout
from tokensieve.settings import Settings

# Named, not imported: a run that skips a stage does not pay for the import of what the stage needs.
FUNCTIONS = {
    "validate": "tasks.validation:validate",
    "split": "tasks.splitting:split",
    "vocabulary": "tasks.vocabulary:vocabulary",
    "mask": "tasks.masking:mask",
    "finetune": "tasks.finetuning:finetune",
    "evaluate": "tasks.evaluation:evaluate",
    "export": "tasks.exporting:export",
    "register": "tasks.tracking:register",
}

log = logging.getLogger("tokensieve")


def function_of(name: str) -> Callable[[Layout, Settings], object]:
    """The function of a stage. Raises InputError for a name that is no stage."""
    if name not in FUNCTIONS:
        raise InputError(f"'{name}' is no stage; stages: {', '.join(FUNCTIONS)}")
    module, function = FUNCTIONS[name].split(":")
    found: Callable[[Layout, Settings], object] = getattr(importlib.import_module(module), function)
    return found


def run_if_stale(layout: Layout, name: str, force: bool = False) -> float | None:
    """Seconds that stage `name` took, None if it was current.

    Raises:
        InputError: what it reads is not there, or changed while it ran; nothing is recorded then. And as the stage does.
    """
    before = versioning.inputs(layout, name)
    if not force and versioning.is_current(layout, name):
        log.info("%-10s unchanged", name)
        return None
    log.info("%-10s ...", name)
    function = function_of(name)
    start = time.perf_counter()
    function(layout, Settings.load(layout.params))
    changed = [key for key, value in versioning.inputs(layout, name).items() if before[key] != value]
    if changed:
        raise InputError(f"{', '.join(changed)} changed while stage {name} ran; run it again")
    versioning.commit(layout, name)
    seconds = time.perf_counter() - start
    log.info("%-10s %.1f s", name, seconds)
    return seconds


def take_in(layout: Layout, settings: Settings, data: str | None, test: str | None = None) -> float:
    """Version the raw data (`versioning.version`), and bring up to date what stages know of the registry; seconds taken.

    The champion is noted, since validation compares with it. A registration that the registry of today does not know is
    forgotten, so that the model is registered again.
    """
    from tasks import tracking

    start = time.perf_counter()
    versioning.version(layout, settings, data, test)
    champion = tracking.champion(layout, settings)
    if not layout.champion.exists() or read_json(layout.champion) != champion:
        write_json(layout.champion, champion)
    if not tracking.registered(layout, settings):
        shutil.rmtree(layout.registration, ignore_errors=True)
    return time.perf_counter() - start


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
        return not {"MlflowException", "FileTransferError"}.isdisjoint(kind.__name__ for kind in type(error).__mro__)
    return False


_retried: Any = partial(task, retries=2, retry_delay_seconds=[5, 30], retry_condition_fn=_transient, persist_result=False)
version_data = _retried(take_in, name="version")
run_stage = _retried(run_if_stale, name="stage", task_run_name="{name}")
