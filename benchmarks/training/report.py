"""Write the tables and plots of the fine-tuning benchmark, from its results.

`python -m benchmarks.training.report` writes finetune.md and PNG files.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import markdown
from benchmarks.command import reports_input_errors
from benchmarks.methods import METHODS, method_of
from benchmarks.plots import budget_picture, cost_picture, shares_picture, spread_picture
from benchmarks.training import comparison
from benchmarks.training.comparison import Loaded, Records
from benchmarks.training.experiment import score
from benchmarks.training.published import published_table
from benchmarks.training.random_encoder import MARK
from benchmarks.training.tables import (
    OURS,
    mean_score,
    origins,
    peaks,
    phase_table,
    score_table,
    task_titles,
    variant_table,
    wall_times,
)
from tokensieve.model.encoder import MINILM

DEFAULT = MINILM.rpartition("/")[2]
PUBLISHED = "Published few-shot samples: accuracy by texts per class"
NOTES = """\
Scores are percentages on the test sets: mean ± standard deviation over seeds. The score is accuracy. For a \
multi-label task it is micro F1 of the labels, and the table names it. *sd* is the mean of the deviations, \
*rank* the mean rank over tasks. *Cost* is the training time (loading, constructs, scores, cache, training; \
not the test pass) divided by that of end_to_end on the same task, seed and machine, as a geometric mean \
over tasks. It is in CPU seconds, on a GPU in wall seconds. *Gap* is tokensieve's score minus the method's, \
in points, over all pairs of task and seed. *p* is from a two-sided sign-flip test on these pairs, corrected \
by Holm's method for the number of methods that have all tasks. Pairs of one task share its test set, so p \
is about these tasks, not about tasks in general. Cells on a GPU shared it with up to 15 others, so their \
cost is rough. SetFit has the recipe of its authors' script."""


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 written, 2 no results."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training.report",
        description="Make tables and plots of the benchmark's results.",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=Path(__file__).parents[1] / "results",
        help="folder with the folders finetune*/",
    )
    parser.add_argument(
        "--readme",
        type=Path,
        help="a Markdown file with two marks, between which the tables are written",
    )
    asked = parser.parse_args(arguments)
    loaded = comparison.load(asked.results)
    (asked.results / "finetune.md").write_text(report(loaded, asked.results), encoding="utf-8")
    if asked.readme:
        markdown.write_between(asked.readme, "benchmarks.training.report", _score_tables(loaded))
    return 0


class Block(NamedTuple):
    """What the cells of one table have in common. `shots` is infinite for all texts.

    `stopping` is what chooses the epoch of training on all texts. It is empty in cells of earlier
    versions, which had the plain validation loss.
    """

    encoder: str
    device: str
    shots: float
    stopping: str

    @property
    def title(self) -> str:
        """The heading of the table."""
        size = "All training texts" if self.shots == math.inf else f"{self.shots:g} texts per class"
        device = ", on a GPU" if self.device == "cuda" else ""
        stopping = ""
        if self.shots == math.inf:
            stopping = f", epoch chosen by the {self.stopping or 'plain loss (earlier code)'}"
        return size + device + stopping + ("" if self.encoder == DEFAULT else f", {self.encoder}")

    @property
    def file(self) -> str:
        """The beginning of the names of the table's pictures."""
        size = "full" if self.shots == math.inf else f"{self.shots:g}"
        device = "-gpu" if self.device == "cuda" else ""
        stopping = f"-{self.stopping.partition(' ')[0]}" if self.stopping else ""
        return f"finetune-{size}{device}{stopping}" + ("" if self.encoder == DEFAULT else f"-{self.encoder}")


def _blocks(records: Records) -> dict[Block, Records]:
    """Return the records by block: those of the default encoder first."""
    found: dict[Block, Records] = {}
    for record in records:
        stopping = record["settings"].get("early stopping", "")
        shots = record["shots"] or math.inf
        block = Block(comparison.encoder_of(record), record["device"], shots, stopping)
        found.setdefault(block, []).append(record)
    return dict(sorted(found.items(), key=lambda item: (item[0].encoder != DEFAULT, item[0])))


def _score_tables(loaded: Loaded) -> str:
    """Return the tables of the methods that have all tasks, and that of the published samples.

    A table that was measured again with another choice of the epoch is left out.
    """
    blocks = _blocks([record for record in loaded.tested if not _random(record)])
    measured_again = {block._replace(stopping="") for block in blocks if block.stopping}
    parts = []
    for block, chosen in blocks.items():
        if block in measured_again:
            continue
        grouped = _main(chosen)
        tasks = sorted({task for by_task in grouped.values() for task in by_task})
        whole = {method: by_task for method, by_task in grouped.items() if by_task.keys() == set(tasks)}
        if OURS in whole:
            table = score_table(whole, tasks, comparison.relative_costs(whole))
            parts += [f"**{block.title}**", table, *wall_times(whole), peaks(whole)]
    if loaded.published:
        parts += [f"**{PUBLISHED}**", published_table(loaded.published)]
    return "\n\n".join(parts)


def _main(records: Records) -> dict[str, dict[str, Records]]:
    """Return the records by method and task, without variants of methods."""
    found = comparison.by_task([record for record in records if "@" not in record["method"]])
    return {method: found[method] for method in METHODS if method in found}


def _random(record: dict[str, Any]) -> bool:
    """Return whether the encoder's weights are random, so that scores have no meaning."""
    return str(record["settings"].get("base.model", "")).startswith(MARK)


def report(loaded: Loaded, folder: Path) -> str:
    """Return the report as Markdown, and write its pictures into `folder`."""
    parts = ["# Fine-tuning benchmark", NOTES]
    for block, chosen in _blocks([record for record in loaded.tested if not _random(record)]).items():
        parts += _section(chosen, block, folder)
    if loaded.published:
        parts += [f"## {PUBLISHED}", published_table(loaded.published), origins(loaded.published)]
    if random := [record for record in loaded.tested if _random(record)]:
        title = "## An encoder of base size with random weights: time and memory only"
        parts += [title, phase_table(_main(random)), origins(random)]
    for block, chosen in _blocks(loaded.held_out).items():
        parts += [
            f"## Settings compared on held-out training texts: {block.title.lower()}",
            "The test sets were not touched.",
            variant_table(chosen),
            origins(chosen),
        ]
    return "\n\n".join(parts) + "\n"


def _section(records: Records, block: Block, folder: Path) -> list[str]:
    grouped, name = _main(records), block.file
    parts = [f"## {block.title}"]
    if grouped:
        tasks = sorted({task for by_task in grouped.values() for task in by_task})
        costs = comparison.relative_costs(grouped)
        parts += [score_table(grouped, tasks, costs), *wall_times(grouped), phase_table(grouped)]
        titles = task_titles(grouped)
        values = {
            method: {titles[task]: comparison.scores(cells) for task, cells in by_task.items()}
            for method, by_task in grouped.items()
        }
        spread_picture(values, folder / f"{name}-spread.png")
        parts.append(f"![Spread over seeds]({name}-spread.png)")
        whole = comparison.complete(grouped, tasks)
        points = {m: (cost, mean_score(whole[m], tasks)) for m, cost in costs.items() if m in whole}
        if len(points) > 1:
            cost_picture(points, folder / f"{name}-cost.png")
            parts.append(f"![Score against cost]({name}-cost.png)")
    if shares := _shares(grouped.get("tokensieve", {})):
        shares_picture(shares, folder / f"{name}-shares.png")
        parts.append(f"![Share of rows selected]({name}-shares.png)")
    if ablations := variant_table(records):
        parts += [
            "Variants, and other scores for tokensieve's mask, on the tasks and seeds that both have:",
            ablations,
        ]
    if curves := _curves(records):
        budget_picture(curves, folder / f"{name}-budget.png")
        parts.append(f"![Score against budget]({name}-budget.png)")
    return [*parts, origins(records)]


def _curves(records: Records) -> dict[str, list[tuple[float, float, float]]]:
    """Return (budget, mean score, its standard deviation over seeds) by method.

    Only methods with several budgets are included, and only tasks and seeds with all budgets of the
    method. So the points of a line are comparable.
    """
    cells: dict[str, dict[float, dict[tuple[int, str], float]]] = {}
    for record in records:
        method, changes = method_of(record["method"])
        if "mask.budget" in record["settings"] and changes.keys() <= {"mask.budget"}:
            budgets = cells.setdefault(method, {})
            budgets.setdefault(record["settings"]["mask.budget"], {})[record["seed"], record["task"]] = score(
                record
            )
    curves = {}
    for method, budgets in cells.items():
        shared = set.intersection(*(set(found) for found in budgets.values()))
        if len(budgets) > 1 and shared:
            curves[method] = [
                (budget, *_over_seeds(found, shared)) for budget, found in sorted(budgets.items())
            ]
    return curves


def _over_seeds(found: dict[tuple[int, str], float], shared: set[tuple[int, str]]) -> tuple[float, float]:
    seeds: dict[int, list[float]] = {}
    for seed, task in shared:
        seeds.setdefault(seed, []).append(found[seed, task])
    return comparison.spread([float(np.mean(values)) for values in seeds.values()])


def _shares(by_task: dict[str, Records]) -> dict[str, float]:
    """Return the selected share of each linear module: the mean over the cells that have it."""
    notes = [record.get("notes", {}) for records in by_task.values() for record in records]
    shares_by_cell = [note["shares"] for note in notes if "shares" in note]
    names = shares_by_cell[0] if shares_by_cell else {}
    return {
        name: sum(shares.get(name, 0.0) for shares in shares_by_cell) / len(shares_by_cell) for name in names
    }


if __name__ == "__main__":
    sys.exit(main())
