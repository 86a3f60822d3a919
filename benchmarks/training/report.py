"""Tables and plots of the fine-tuning benchmark, from its cells: `python -m benchmarks.training.report` writes finetune.md and PNGs."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.methods import METHODS, method_of
from benchmarks.plots import budget_picture, cost_picture, shares_picture, spread_picture
from benchmarks.training import statistics
from benchmarks.training.experiment import figure, score
from benchmarks.training.random_encoder import MARK
from benchmarks.training.statistics import Records
from tokensieve.errors import InputError

OURS = "tokensieve"
SCORES = ("fish", "magnitude_mask", "random_mask")
MARKS = ("<!-- benchmarks.training.report: begin -->\n", "<!-- benchmarks.training.report: end -->")
NOTES = """\
Scores on the test sets in percent, mean ± standard deviation over seeds: accuracy, or where it says so micro F1 of the labels, a text of
that task having any number of them. *sd* is the mean of these deviations, *rank* the mean place over tasks. *Cost* is what training
took, everything counted (loading, mining, scoring, caching, training; not the test pass), against end_to_end on the same task,
seed and machine: CPU seconds, on a GPU wall seconds; geometric mean over tasks. *Gap* is tokensieve's score less the method's, in
points, over all pairs of task and seed; *p* is of a two-sided sign-flip test on these pairs, corrected for the number of methods
that have all tasks (Holm). Pairs of one task share its test set, so p speaks of these tasks, not of tasks in general. Cells on a
GPU shared it with up to 15 others: their cost is rough. SetFit runs as its library ships it."""


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
        help="folder that holds finetune*/",
    )
    parser.add_argument(
        "--readme",
        type=Path,
        help="a Markdown file that shows the tables of several texts a class between two marks",
    )
    asked = parser.parse_args(arguments)
    try:
        records, held_out = statistics.load(asked.results)
        (asked.results / "finetune.md").write_text(report(records, held_out, asked.results), encoding="utf-8")
        if asked.readme:
            asked.readme.write_text(
                _shown(asked.readme.read_text(encoding="utf-8"), records), encoding="utf-8"
            )
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _shown(text: str, records: Records) -> str:
    """`text` with the tables between the marks, of the methods that have all tasks.

    Raises:
        InputError: the marks are not there.
    """
    head, begin, rest = text.partition(MARKS[0])
    _, end, tail = rest.partition(MARKS[1])
    if not (begin and end):
        raise InputError(
            f"--readme names a file without the lines {MARKS[0].strip()} and {MARKS[1]}; put them where the tables belong"
        )
    parts = []
    for (device, shots), chosen in _by_size([record for record in records if not _random(record)]).items():
        grouped = _main(chosen)
        tasks = sorted({task for by_task in grouped.values() for task in by_task})
        whole = {method: by_task for method, by_task in grouped.items() if by_task.keys() == set(tasks)}
        if OURS in whole:
            parts += [
                f"**{_title(shots, device)}**",
                _table(whole, tasks, statistics.relative_costs(whole)),
                *_walls(whole),
            ]
    return head + begin + "\n" + "\n\n".join(parts) + "\n\n" + end + tail


def _main(records: Records) -> dict[str, dict[str, Records]]:
    """Return the records by method and task, without variants of methods."""
    found = statistics.by_task([record for record in records if "@" not in record["method"]])
    return {method: found[method] for method in METHODS if method in found}


def _title(shots: float, device: str = "cpu") -> str:
    return ("All training texts" if shots == math.inf else f"{shots:g} texts a class") + (
        ", on a GPU" if device == "cuda" else ""
    )


def _random(record: dict[str, Any]) -> bool:
    """Return whether the encoder's weights are random, so that scores have no meaning."""
    return str(record["settings"].get("base.model", "")).startswith(MARK)


def report(records: Records, held_out: Records, folder: Path) -> str:
    """Return the report as Markdown, and write its pictures into `folder`."""
    parts = ["# Fine-tuning benchmark", NOTES]
    for (device, shots), chosen in _by_size([record for record in records if not _random(record)]).items():
        parts += _section(chosen, device, shots, folder)
    if random := [record for record in records if _random(record)]:
        title = "## An encoder of base size with random weights: time and memory only"
        parts += [title, _phases(_main(random)), _origins(random)]
    for (_, shots), chosen in _by_size(held_out).items():
        parts += [
            f"## Settings compared on held-out training texts: {_title(shots).lower()}",
            "The test sets were not touched.",
            _ablations(chosen),
            _origins(chosen),
        ]
    return "\n\n".join(parts) + "\n"


def _by_size(records: Records) -> dict[tuple[str, float], Records]:
    """Return the records by device and shots (infinity for all texts)."""
    found: dict[tuple[str, float], Records] = {}
    for record in sorted(records, key=lambda record: (record["device"], record["shots"] or math.inf)):
        found.setdefault((record["device"], record["shots"] or math.inf), []).append(record)
    return found


def _section(records: Records, device: str, shots: float, folder: Path) -> list[str]:
    grouped = _main(records)
    name = f"finetune-{'full' if shots == math.inf else f'{shots:g}'}{'-gpu' if device == 'cuda' else ''}"
    parts = [f"## {_title(shots, device)}"]
    if grouped:
        tasks = sorted({task for by_task in grouped.values() for task in by_task})
        costs = statistics.relative_costs(grouped)
        parts += [_table(grouped, tasks, costs), *_walls(grouped), _phases(grouped)]
        titles = _titles(grouped)
        values = {
            method: {titles[task]: statistics.scores(cells) for task, cells in by_task.items()}
            for method, by_task in grouped.items()
        }
        spread_picture(values, folder / f"{name}-spread.png")
        parts.append(f"![Spread over seeds]({name}-spread.png)")
        means = {method: _mean(by_task, tasks) for method, by_task in grouped.items()}
        points = {method: (costs[method], means[method]) for method in costs if not math.isnan(means[method])}
        if len(points) > 1:
            cost_picture(points, folder / f"{name}-cost.png")
            parts.append(f"![Score against cost]({name}-cost.png)")
    if shares := _shares(grouped.get("tokensieve", {})):
        shares_picture(shares, folder / f"{name}-shares.png")
        parts.append(f"![Share of rows selected]({name}-shares.png)")
    if ablations := _ablations(records):
        parts += [
            "Variants, and other scores for tokensieve's mask, on the tasks and seeds that both have:",
            ablations,
        ]
    if curves := _curves(records):
        budget_picture(curves, folder / f"{name}-budget.png")
        parts.append(f"![Score against budget]({name}-budget.png)")
    return [*parts, _origins(records)]


def _table(grouped: dict[str, dict[str, Records]], tasks: list[str], costs: dict[str, float]) -> str:
    seeds = max(len(found) for tasks_of in grouped.values() for found in tasks_of.values())
    places = statistics.ranks(grouped, tasks)
    gaps = {other: statistics.differences(grouped, OURS, other) for other in grouped if other != OURS}
    chances = statistics.holm(
        {other: statistics.sign_flip(found) for other, found in gaps.items() if found and other in places}
    )
    titles = _titles(grouped)
    rows = [
        [
            "method",
            "trained parameters",
            *(titles[task] for task in tasks),
            "mean",
            "sd",
            "rank",
            "cost",
            "gap",
            "p",
        ]
    ]
    for method in sorted(grouped, key=lambda method: places.get(method, math.inf)):
        found = grouped[method]
        trained = np.mean([record["trained_parameters"] for records in found.values() for record in records])
        rows.append(
            [
                method,
                f"{trained:,.0f}",
                *(_cell(found.get(task, []), seeds) for task in tasks),
                _number(100 * _mean(found, tasks), ".2f"),
                _number(100 * _deviation(found, tasks), ".2f"),
                _number(places.get(method), ".1f"),
                _number(costs.get(method), ".2g"),
                _number(100 * float(np.mean(gaps[method])) if gaps.get(method) else None, "+.2f"),
                _number(chances.get(method), ".3f"),
            ]
        )
    return _markdown(rows) + f"\n\nSeeds: {seeds}; a number in brackets where a method has fewer."


def _walls(grouped: dict[str, dict[str, Records]]) -> list[str]:
    """Return the wall time of tokensieve relative to other methods, in total and by task, from undisturbed cells."""
    calm = statistics.by_task(
        statistics.undisturbed(
            [cell for tasks in grouped.values() for cells in tasks.values() for cell in cells]
        )
    )
    told = []
    for other in ("end_to_end", "lora"):
        share = statistics.relative_costs(calm, other, statistics.wall).get(OURS)
        if share is not None:
            pairs = len(statistics.differences(calm, OURS, other))
            told.append(
                f"{share:.2f} of {other}'s ({', '.join(_shares_by_task(calm, other))}; {pairs} pairs of cells)"
            )
    return (
        [f"Wall seconds of cells that had a core to themselves: tokensieve takes {', '.join(told)}."]
        if told
        else []
    )


def _shares_by_task(calm: dict[str, dict[str, Records]], other: str) -> list[str]:
    told = []
    for task in sorted(calm[OURS].keys() & calm[other].keys()):
        of_task = {method: {task: calm[method][task]} for method in (OURS, other)}
        if OURS in (found := statistics.relative_costs(of_task, other, statistics.wall)):
            told.append(f"{task} {found[OURS]:.2f}")
    return told


def _titles(grouped: dict[str, dict[str, Records]]) -> dict[str, str]:
    """Return the name of each task, with the name of its score if that is not accuracy."""
    figures = {task: figure(records[0]) for tasks in grouped.values() for task, records in tasks.items()}
    return {task: task if found == "accuracy" else f"{task} ({found})" for task, found in figures.items()}


def _phases(grouped: dict[str, dict[str, Records]]) -> str:
    """Return the mean seconds per cell, by phase."""
    records = {
        method: [record for found in tasks.values() for record in found] for method, tasks in grouped.items()
    }
    names = list(
        dict.fromkeys(name for found in records.values() for record in found for name in record["phases"])
    )
    rows = [["seconds a cell", "all of training", *names, "peak MiB"]]
    for method, found in records.items():
        kind = "wall" if found[0]["device"] == "cuda" else "cpu"
        phases = [
            np.mean([record["phases"].get(name, {}).get(kind, 0.0) for record in found]) for name in names
        ]
        peak = max(record["peak_mib"].get("gpu", record["peak_mib"]["resident"]) for record in found)
        rows.append(
            [
                method,
                f"{np.mean([statistics.cost(record) for record in found]):.1f}",
                *(f"{s:.1f}" for s in phases),
                f"{peak:.0f}",
            ]
        )
    return _markdown(rows)


def _curves(records: Records) -> dict[str, list[tuple[float, float, float]]]:
    """(budget, mean score, its standard deviation over seeds) by method, where a method was run at several budgets.

    Only tasks and seeds that have all of its budgets count, so that the points of a line compare.
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
    return statistics.spread([float(np.mean(values)) for values in seeds.values()])


def _origins(records: Records) -> str:
    """Return machines and commits, and a warning if cells of one method have different settings."""
    machines = sorted({statistics.machine_of(record) for record in records})
    commits = sorted({str(record["commit"]) for record in records})
    lines = [f"Machines: {'; '.join(machines)}. Commits: {', '.join(commits)}."]
    if mixed := _mixed(records):
        lines.append(
            f"Mixed: cells of {', '.join(mixed)} were made with different settings; run the benchmark again."
        )
    return "\n".join(lines)


def _mixed(records: Records) -> list[str]:
    """Methods of which a task's cells differ in their settings, and variants that differ from their method in more than they name."""
    mixed: set[str] = set()
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for record in sorted(records, key=lambda record: "@" in record["method"]):
        name, task, settings = record["method"], record["task"], record["settings"]
        method, changes = method_of(name)
        first.setdefault((name, task), settings)
        compared = [first[known, task] for known in (name, method) if (known, task) in first]
        if any(_without(other, changes) != _without(settings, changes) for other in compared):
            mixed.add(name)
    return sorted(mixed)


def _without(settings: dict[str, Any], changes: Collection[str]) -> dict[str, Any]:
    """Return the settings without the keys `changes` and the sections that contain one of them."""
    return {
        key: value
        for key, value in settings.items()
        if not any(f"{change}.".startswith(f"{key}.") for change in changes)
    }


def _mean(found: dict[str, Records], tasks: list[str]) -> float:
    """Return the mean over tasks of the mean over seeds; NaN if a task is missing."""
    return float(
        np.mean([np.mean(statistics.scores(found[task])) if task in found else math.nan for task in tasks])
    )


def _deviation(found: dict[str, Records], tasks: list[str]) -> float:
    """Return the mean over tasks of the standard deviation over seeds; NaN if a task is missing."""
    return float(
        np.mean(
            [
                statistics.spread(statistics.scores(found[task]))[1] if task in found else math.nan
                for task in tasks
            ]
        )
    )


def _shares(by_task: dict[str, Records]) -> dict[str, float]:
    """Return the selected share of each linear layer: mean over tasks and seeds, from the cells that have it."""
    notes = [record.get("notes", {}) for records in by_task.values() for record in records]
    told = [note["shares"] for note in notes if "shares" in note]
    names = told[0] if told else {}
    return {name: sum(shares.get(name, 0.0) for shares in told) / len(told) for name in names}


def _ablations(records: Records) -> str:
    """Each variant of a method, and rivals that differ from ours in the scores alone, against ours on the tasks and seeds that both have.

    p is that of the main table, not corrected: a hint at what to measure next.
    """
    grouped = statistics.by_task(records)
    costs = statistics.relative_costs(grouped, OURS)
    rows = [["variant", "tasks", "pairs", "gap to tokensieve", "p, uncorrected", "cost against tokensieve"]]
    for method in [name for name in grouped if "@" in name] + [name for name in SCORES if name in grouped]:
        gaps = statistics.differences(grouped, method, OURS)
        if gaps:
            shared = ", ".join(sorted(grouped[method].keys() & grouped[OURS].keys()))
            points, chance = f"{100 * float(np.mean(gaps)):+.2f}", f"{statistics.sign_flip(gaps):.2f}"
            rows.append(
                [f"`{method}`", shared, str(len(gaps)), points, chance, _number(costs.get(method), ".2f")]
            )
    return _markdown(rows) if len(rows) > 1 else ""


def _cell(records: Records, seeds: int) -> str:
    if not records:
        return "–"
    mean, deviation = statistics.spread(statistics.scores(records))
    fewer = f" ({len(records)})" if len(records) < seeds else ""
    return f"{100 * mean:.2f}" + ("" if math.isnan(deviation) else f" ± {100 * deviation:.2f}") + fewer


def _number(value: float | None, form: str) -> str:
    return "–" if value is None or math.isnan(value) else format(value, form)


def _markdown(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


if __name__ == "__main__":
    sys.exit(main())
