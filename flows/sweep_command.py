"""The command `tokensieve sweep`. It imports what it needs when it runs."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging

from tokensieve.cli.command import RUN, Answer, Command, add_json, add_project, existing_project
from tokensieve.errors import InputError
from tokensieve.project import Layout

log = logging.getLogger("tokensieve")


def sweep(options: argparse.Namespace, answer: Answer) -> None:
    """Cross-validate combinations of settings on the training texts, and rank them."""
    from flows.temporary_server import connected, prefect_server
    from tokensieve.progress import log_while_running

    layout = existing_project(options)
    _check(options, layout)
    with prefect_server(layout.active) as server, contextlib.ExitStack() as stack:
        log.info("%-10s ...", "start")
        with log_while_running("start"):
            from flows.sweep import sweep as flow
            from flows.sweep_text import sweep_text

            stack.enter_context(connected(server))
        result = flow(
            layout.root,
            options.grid,
            options.seeds,
            options.folds,
            options.trials,
            options.metric,
            options.workers,
            options.dask,
        )
    answer(json.dumps(result, ensure_ascii=False) if options.json else sweep_text(result, layout))


def _check(options: argparse.Namespace, layout: Layout) -> None:
    """Check the options before Prefect starts.

    Raises:
        InputError: If a value is wrong, or two options exclude each other.
    """
    from tasks.sweeps.space import combinations, read_seeds, read_space, settings_of
    from tasks.versioning.data_versions import data_hash

    space = read_space(layout.params, options.grid, searches=options.trials is not None)
    seeds = read_seeds(options.seeds)
    if options.trials is not None:
        if not space:
            raise InputError("--trials needs --grid with what to search, for example mask.budget=0.02..0.2")
        import tasks.sweeps.search  # noqa: F401
    else:
        for changes in combinations(space):
            settings_of(layout.params, changes, seeds[0])
    for name in ("folds", "trials", "workers"):
        low, value = 2 if name == "folds" else 1, getattr(options, name)
        if value is not None and value < low:
            raise InputError(f"--{name} is {value}; use at least {low}")
    if options.dask and options.workers:
        raise InputError(
            "--workers counts processes of this machine, and --dask uses those of a cluster; use one"
        )
    if options.dask:
        from flows.sweep_cells import check_dask

        check_dask()
    data_hash(layout)


def _sweep_arguments(parser: argparse.ArgumentParser) -> None:
    add_project(parser)
    about = "values of settings: A,B,C, or LOW..HIGH with --trials (default: the project's own settings)"
    parser.add_argument(
        "--grid", action="extend", nargs="+", default=[], metavar="SECTION.KEY=VALUES", help=about
    )
    about = "random seeds, for example 0-4; each deals the folds anew (default: 0)"
    parser.add_argument("--seeds", default="0", metavar="LIST", help=about)
    about = "folds of the training texts; one cell per combination, seed and fold (default: 5)"
    parser.add_argument("--folds", type=int, default=5, metavar="N", help=about)
    about = "search N combinations with Optuna instead of trying all"
    parser.add_argument("--trials", type=int, metavar="N", help=about)
    about = "figure to rank by: accuracy, macro_f1; for multi-label data micro_f1, macro_f1, exact_match"
    parser.add_argument("--metric", metavar="NAME", help=about)
    about = "worker processes (default: one per core, or one with a GPU)"
    parser.add_argument("--workers", type=int, metavar="N", help=about)
    about = "address of a Dask scheduler whose workers run the cells, for example tcp://10.0.0.1:8786"
    parser.add_argument("--dask", metavar="ADDRESS", help=about)
    add_json(parser)


COMMANDS = (Command("sweep", RUN, sweep, _sweep_arguments, extra="sweep"),)
