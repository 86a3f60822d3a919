"""What each combination of settings is worth, and whether the best one is more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tasks.sweeps.space import Changes
from tokensieve.errors import InputError
from tokensieve.evaluation.cross_validation import Estimate, estimate

# By which figures combinations can be ranked; the first one by default.
SINGLE_LABEL = ("accuracy", "macro_f1")
MULTI_LABEL = ("micro_f1", "macro_f1", "exact_match")


@dataclass(frozen=True)
class Row:
    """One combination of settings.

    Attributes:
        changes: The settings.
        figures: Each figure by its name, over the cells.
        behind: By how much the ranked figure is less than that of the best combination, over the
            pairs of cells with the same texts. None for the best itself.
        seconds: Mean duration of a cell.
    """

    changes: Changes
    figures: dict[str, Estimate]
    behind: Estimate | None
    seconds: float

    @property
    def is_worse(self) -> bool:
        """Whether it is measurably worse than the best combination."""
        return self.behind is not None and self.behind.is_measurable


def check_metric(metric: str | None, multi_label: bool) -> str:
    """Return the figure by which combinations are ranked.

    Raises:
        InputError: If these data have no such figure.
    """
    allowed = MULTI_LABEL if multi_label else SINGLE_LABEL
    if metric is not None and metric not in allowed:
        raise InputError(f"--metric is {metric}; for these data use one of {', '.join(allowed)}")
    return metric or allowed[0]


def rank(results: Mapping[Changes, Sequence[Mapping[str, Any]]], metric: str, folds: int) -> list[Row]:
    """Return a row per combination, the best first.

    `results` has the content of the cells' files, of each combination in the same order.
    """
    figures = {changes: _estimates(cells, folds) for changes, cells in results.items()}
    order = sorted(results, key=lambda changes: -figures[changes][metric].mean)
    best = [cell["figures"][metric] for cell in results[order[0]]]
    rows = []
    for changes in order:
        gaps = [top - cell["figures"][metric] for top, cell in zip(best, results[changes], strict=True)]
        behind = estimate(gaps, folds) if changes != order[0] else None
        seconds = sum(cell["seconds"] for cell in results[changes]) / len(results[changes])
        rows.append(Row(changes, figures[changes], behind, round(seconds, 2)))
    return rows


def _estimates(cells: Sequence[Mapping[str, Any]], folds: int) -> dict[str, Estimate]:
    """Return the estimate of each figure that all cells have. All figures are between 0 and 1."""
    names = [name for name in cells[0]["figures"] if all(name in cell["figures"] for cell in cells)]
    found = {name: estimate([cell["figures"][name] for cell in cells], folds) for name in names}
    return {
        name: replace(value, low=max(value.low, 0.0), high=min(value.high, 1.0))
        for name, value in found.items()
    }
