"""A small grid of learning rates for one method, judged on held-out training texts; the test set is not touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.methods import method_of
from benchmarks.training.experiment import Cell, score
from benchmarks.training.learning_rates import FACTORS, HEADS, RATES, Rates
from tokensieve.errors import InputError, excerpt
from tokensieve.files import write_json

SEED = 100  # none of the benchmark's own


def points(task: str, shots: int | None, method: str) -> list[Cell]:
    """The cells of the grid.

    Raises:
        InputError: a method without learning rates.
    """
    name, _ = method_of(method)
    if name not in RATES:
        raise InputError(
            f"--grid {excerpt(method)}: it has no learning rates; methods that have: {', '.join(RATES)}"
        )
    bodies = [float(f"{RATES[name].body * factor:.2g}") for factor in FACTORS]
    return [
        Cell(task, shots, SEED, method, Rates(body, head), held_out=True) for body in bodies for head in HEADS
    ]


def summarize(tried: list[tuple[Cell, dict[str, Any]]], path: Path) -> dict[str, Any]:
    """Write the grid's outcome, best first, and return it."""
    rows = [
        {"body": cell.rates.body, "head": cell.rates.head, "score": score(record)}
        | {name: record[name] for name in ("accuracy", "cpu_seconds")}
        for cell, record in tried
        if cell.rates
    ]
    rows.sort(key=lambda row: -row["score"])
    first, record = tried[0]
    tree = {
        "task": first.task,
        "shots": first.shots,
        "seed": SEED,
        "method": first.method,
        "points": rows,
        "machine": record["machine"],
    }
    write_json(path, tree)
    return tree
