"""Run a cell in a process of its own.

So its peak memory and CPU time are measured alone, and a crash ends no other cell.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path

from benchmarks.training.experiment import Cell, Setup
from tokensieve.errors import InputError


def run_in_subprocess(cell: Cell, setup: Setup, path: Path) -> bool:
    """Compute the cell and append its result to `path`.

    Return whether it succeeded. If not, the reason is on standard error.
    """
    # numpy and scikit-learn read it when they are loaded.
    os.environ["OMP_NUM_THREADS"] = str(setup.threads)
    context = multiprocessing.get_context("forkserver")
    # The server imports torch once and computes nothing; each cell is forked from it.
    context.set_forkserver_preload(["benchmarks.training.measure"])
    process = context.Process(target=_child, args=(cell, setup, path), daemon=True)
    process.start()
    try:
        process.join()
    except KeyboardInterrupt:
        process.terminate()
        process.join(10)
        process.kill()
        raise
    return process.exitcode == 0


def _child(cell: Cell, setup: Setup, path: Path) -> None:
    from benchmarks.training.measure import measure_to

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        measure_to(cell, setup, path)
    except KeyboardInterrupt:
        sys.exit(130)
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
