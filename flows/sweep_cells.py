"""Run the cells of a sweep as Prefect tasks: in processes of this machine, or on a Dask cluster."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task, unmapped
from prefect.futures import as_completed
from prefect.settings import PREFECT_API_URL
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner

from flows.prefect_runs import log_to_page
from tasks.sweeps.cell import Cell, load_result, run_cell
from tokensieve import worker
from tokensieve.cpus import cores
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.settings import Settings
from tokensieve.training.device import choose_device

ROUNDS = 3  # after this many in which workers died and no cell was finished, the sweep gives up
LOST = ("KilledWorker", "FutureCancelledError")  # Dask's errors after which cells are run again
LINE_SECONDS = 10.0  # between two lines of progress

log = logging.getLogger("tokensieve")
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Workers:
    """Who computes the cells: `processes` of this machine, or the Dask cluster of a scheduler."""

    processes: int
    dask: str | None = None

    def runner(self) -> TaskRunner[Any]:
        """Return a new task runner."""
        if self.dask is None:
            # Python's resource tracker is a process of its own. After Ctrl-C it would warn of what
            # it cleans up.
            os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")
            return ProcessPoolTaskRunner(self.processes, initializer=worker.start, initargs=(os.getpid(),))
        from prefect_dask.task_runners import DaskTaskRunner

        return DaskTaskRunner(address=self.dask)


@dataclass
class Progress:
    """How many cells are finished, in the log: with the rate and the time left."""

    total: int
    finished: int = 0
    _first: tuple[int, float] | None = None  # cells and time at the first one: workers need a while to start
    _last: float = 0.0

    def skip(self, count: int) -> None:
        """Count cells that an earlier run has finished."""
        if count:
            self.finished += count
            log.info("%-10s %d of %d cells are finished already", "sweep", self.finished, self.total)

    def advance(self) -> None:
        """Count a cell that has just been computed."""
        self.finished, now = self.finished + 1, time.monotonic()
        self._first = self._first or (self.finished, now)
        if now - self._last >= LINE_SECONDS or self.finished == self.total:
            self._last = now
            log.info("%-10s %d of %d cells%s", "sweep", self.finished, self.total, self._estimate(now))

    def _estimate(self, now: float) -> str:
        assert self._first is not None
        cells, seconds = self.finished - self._first[0], now - self._first[1]
        if not cells:
            return ""
        left = duration((self.total - self.finished) * seconds / cells)
        return f", {60 * cells / seconds:.1f} per minute" + (
            f", {left} left" if self.finished < self.total else ""
        )


def choose_workers(settings: Settings, processes: int | None, dask: str | None) -> Workers:
    """Return the workers. Without a number, one process per core, or one if there is a GPU.

    Raises:
        InputError: As `check_dask`.
    """
    if dask is not None:
        check_dask()
    if processes is None and choose_device(settings.finetune.device) == "cuda":
        processes = 1
    return Workers(processes or max(1, cores() // (settings.finetune.threads or 1)), dask)


def check_dask() -> None:
    """Check that Dask is installed, and that Prefect has a server that Dask's workers reach.

    Raises:
        InputError: If no server is configured.
        ModuleNotFoundError: If prefect-dask is not installed.
    """
    import prefect_dask  # noqa: F401

    if not PREFECT_API_URL.value():
        raise InputError(
            "--dask needs a Prefect server that all workers reach, and none is configured; without one, each "
            "worker starts a server of its own. Start one with prefect server start, and set PREFECT_API_URL "
            "to its address"
        )


def run_cells(
    layout: Layout, cells: dict[Cell, str], workers: Workers, progress: Progress
) -> list[dict[str, Any]]:
    """Return the results of the cells. Finished cells are read; those of killed workers run again.

    Args:
        layout: The project.
        cells: The cells, with their names on the run's page.
        workers: Who computes them.
        progress: Advanced by every cell.

    Raises:
        InputError: If workers die again and again, or as `run_cell`.
    """
    missing = [cell for cell in cells if load_result(layout, cell) is None]
    progress.skip(len(cells) - len(missing))
    failures = 0
    while missing:
        before = progress.finished
        _run_round(layout, {cell: cells[cell] for cell in missing}, workers, progress)
        left = [cell for cell in missing if load_result(layout, cell) is None]
        progress.finished = before + len(missing) - len(left)  # some may have been finished by a dead worker
        failures = failures + 1 if len(left) == len(missing) else 0
        if failures == ROUNDS:
            raise InputError(
                f"{len(left)} cells were not finished: their workers were lost {ROUNDS} times, "
                "probably for want of memory; use fewer at once with --workers"
            )
        if left:
            log.warning("%-10s a worker was lost; its cells are run again (%d left)", "sweep", len(left))
        missing = left
    return [load_result(layout, cell) or {} for cell in cells]


def _run_round(layout: Layout, cells: dict[Cell, str], workers: Workers, progress: Progress) -> None:
    """Run cells until all are finished, or until the workers of the rest are dead."""
    with workers.runner() as runner:
        try:
            futures = runner.map(
                _cell_task,  # type: ignore[arg-type]
                {"project": unmapped(layout.root), "cell": list(cells), "name": list(cells.values())},
            )
            for future in as_completed(list(futures)):
                try:
                    future.result()
                except Exception as error:
                    if not _is_killed(error):
                        raise
                    _kill_workers()
                else:
                    progress.advance()
        except BaseException:
            _kill_workers()
            raise


def _kill_workers() -> None:
    """Kill the worker processes of this machine.

    The runner would wait for the cells that they are computing. If one of them was killed, it would
    send SIGTERM to the others, which Prefect catches there, and wait forever.
    """
    for process in multiprocessing.active_children():
        process.kill()


def _is_killed(error: Exception) -> bool:
    """Return whether a worker was lost, or the connection to Dask's scheduler.

    A scheduler that imports our packages for the first time may not answer for half a minute.
    Dask's errors are known by their names.
    """
    return isinstance(error, BrokenProcessPool) or type(error).__name__ in LOST


def compute(project: Path, cell: Cell, name: str) -> dict[str, Any]:
    """Return the result of a cell, in a worker process. `name` is shown on the run's page."""
    log_to_page()
    # A Dask worker may have several threads, and PyTorch has one source of random numbers.
    with _one_at_a_time:
        return run_cell(project, cell)


# Not a decorator: workers get the function by its name, not by its content.
_cell_task = task(name="cell", task_run_name="{name}", persist_result=False)(compute)


def duration(seconds: float) -> str:
    """Return a duration for people, for example 3 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
