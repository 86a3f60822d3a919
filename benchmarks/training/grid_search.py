"""A small grid of learning rates for one method, evaluated on held-out training texts.

The test set is not used.
"""

from __future__ import annotations

from typing import Any

from benchmarks.methods import method_of
from benchmarks.training.experiment import Cell, score
from benchmarks.training.learning_rates import FACTORS, HEADS, RATES, Rates
from tokensieve.errors import InputError, excerpt

SEED = 100  # the benchmark itself uses other seeds


def points(task: str, shots: int | None, method: str) -> list[Cell]:
    """Return the cells of the grid.

    Raises:
        InputError: If the method has no learning rates.
    """
    name, _ = method_of(method)
    if name not in RATES:
        raise InputError(
            f"--grid {excerpt(method)}: this method has no learning rates; use one of {', '.join(RATES)}"
        )
    bodies = [float(f"{RATES[name].body * factor:.2g}") for factor in FACTORS]
    return [
        Cell(task, shots, SEED, method, Rates(body, head), held_out=True) for body in bodies for head in HEADS
    ]


def ranked(tried: list[tuple[Cell, dict[str, Any]]]) -> list[tuple[Rates, float]]:
    """Return the learning rates and the score of each point, best first."""
    rows = [(cell.rates, score(record)) for cell, record in tried if cell.rates]
    return sorted(rows, key=lambda row: -row[1])
