"""The fine-tuning benchmark: every method on the same samples of every task.

    python -m benchmarks.training.run --data DIR --tasks banking77,hwu64 \\
        --methods tokensieve,end_to_end --shots 10,full --seeds 0-4

It can be stopped at any time: finished cells are kept, and the same command continues with the
others. With `--grid METHOD`, learning rates are compared instead.
`python -m benchmarks.training.report` makes tables and plots of the results.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import reports_input_errors
from benchmarks.methods import METHODS
from benchmarks.training.experiment import Cell, Setup, finished, score, score_name
from benchmarks.training.grid_search import points, ranked
from benchmarks.training.isolation import run_in_subprocess
from benchmarks.training.tasks import task_files
from tokensieve.errors import InputError, excerpt
from tokensieve.settings import Settings

RESULTS = Path(__file__).parents[1] / "results"


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit status.

    It is 0 if all cells are finished, 1 if some failed, 2 for invalid input, 130 after an
    interrupt.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asked = _parser().parse_args(arguments)
    tasks, methods = _names("--tasks", asked.tasks), _names("--methods", asked.methods)
    shots = [_shots(word) for word in _names("--shots", asked.shots)]
    setup = Setup(asked.data, _base(asked.base), asked.threads, asked.device)
    for task in tasks:
        task_files(asked.data, task)
    if asked.grid:
        return _grid(asked.grid, tasks, shots, setup, asked.output or RESULTS / "grid")
    cells = plan(tasks, shots, _seeds(asked.seeds), methods, asked.held_out)
    return _run(cells, setup, asked.output or RESULTS / ("held_out" if asked.held_out else "finetune"))


def plan(
    tasks: list[str], shots: list[int | None], seeds: list[int], methods: list[str], held_out: bool = False
) -> list[Cell]:
    """Return all cells, seed by seed, so that an interrupted run has all methods for some seeds."""
    return [
        Cell(task, few, seed, method, held_out=held_out)
        for few in shots
        for seed in seeds
        for task in tasks
        for method in methods
    ]


def _run(cells: list[Cell], setup: Setup, output: Path) -> int:
    output.mkdir(parents=True, exist_ok=True)  # fails before anything is trained
    missing = [cell for cell in cells if not finished(cell, setup, output)]
    _say(f"{len(cells)} cells, {len(cells) - len(missing)} finished before")
    failed: list[Cell] = []
    for place, cell in enumerate(missing):
        began = time.monotonic()
        try:
            done = run_in_subprocess(cell, setup, cell.file(setup, output))
        except KeyboardInterrupt:
            _say(
                f"stopped; not finished: {'; '.join(map(str, [*failed, *missing[place:]]))}. The same "
                "command goes on with them."
            )
            return 130
        record = finished(cell, setup, output) if done else None
        result = (
            f"{score_name(record)} {score(record):.4f}, {record['cpu_seconds']:.1f} CPU s"
            if record
            else "FAILED"
        )
        _say(
            f"[{place + 1}/{len(missing)}] {cell}: {result}, {time.monotonic() - began:.0f} s with start and "
            "test"
        )
        if not record:
            failed.append(cell)
    if failed:
        _say(f"{len(failed)} failed: {'; '.join(map(str, failed))}")
    return 1 if failed else 0


def _grid(method: str, tasks: list[str], shots: list[int | None], setup: Setup, output: Path) -> int:
    for task in tasks:
        for few in shots:
            cells = points(task, few, method)
            if status := _run(cells, setup, output):
                return status
            tried = [(cell, finished(cell, setup, output) or {}) for cell in cells]
            for rates, found in ranked(tried):
                _say(f"body {rates.body:g}, head {rates.head:g}: {found:.4f}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training.run", description="Measure fine-tuning methods on public tasks."
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder of task folders: train.csv and test.csv, or a column fold",
    )
    parser.add_argument("--tasks", required=True, help="names of task folders, separated by commas")
    parser.add_argument(
        "--methods",
        default=",".join(METHODS),
        help="separated by commas; METHOD@KEY=VALUE+... changes settings",
    )
    parser.add_argument("--shots", default="10", help="texts per class, or full; separated by commas")
    parser.add_argument("--seeds", default="0-4", help="for example 0-4 or 0,3")
    parser.add_argument("--output", type=Path, help="folder of the results; default: benchmarks/results")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads per cell")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--base", default=Settings().base.model, help="base model: a folder or a Hugging Face model id"
    )
    parser.add_argument(
        "--held-out",
        action="store_true",
        help="evaluate on training texts that are not in the sample, as when settings are chosen",
    )
    parser.add_argument(
        "--grid",
        metavar="METHOD",
        help="try learning rates for this method on held-out training texts instead",
    )
    return parser


def _names(option: str, text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise InputError(f"{option} is empty; name at least one, separated by commas")
    return names


def _base(name: str) -> str:
    """Return the name of the base model. A wrong path would let every cell fail."""
    if not Path(name).is_dir() and not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise InputError(f"--base is {excerpt(name)}; use a folder, or a Hugging Face model id (owner/model)")
    return name


def _shots(word: str) -> int | None:
    if word == "full":
        return None
    if not word.isdigit() or int(word) < 1:
        raise InputError(f"--shots contains {excerpt(word)}; use whole numbers from 1, or full")
    return int(word)


def _seeds(text: str) -> list[int]:
    seeds: list[int] = []
    for word in _names("--seeds", text):
        first, dash, last = word.partition("-")
        if not first.isdigit() or (dash and not (last.isdigit() and int(last) >= int(first))):
            raise InputError(
                f"--seeds contains {excerpt(word)}; use numbers such as 0,3 or a range such as 0-4"
            )
        seeds += range(int(first), int(last if dash else first) + 1)
    return list(dict.fromkeys(seeds))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
