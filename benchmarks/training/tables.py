"""Tables of the fine-tuning benchmark, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np

from benchmarks import markdown
from benchmarks.methods import method_of
from benchmarks.training import comparison
from benchmarks.training.comparison import Records
from benchmarks.training.experiment import score_name
from tokensieve.counted import counted

OURS = "tokensieve"
FEWER = (
    " In brackets: the number of seeds, if a method has fewer. It has no mean and no rank then, because a "
    "seed is a sample, and other samples are easier or harder."
)
SCORES = ("fish", "magnitude_mask", "random_mask")


def score_table(grouped: dict[str, dict[str, Records]], tasks: list[str], costs: dict[str, float]) -> str:
    seeds = max(len(found) for tasks_of in grouped.values() for found in tasks_of.values())
    whole = comparison.complete(grouped, tasks)
    places = comparison.ranks(whole, tasks)
    gaps = {other: comparison.differences(grouped, OURS, other) for other in grouped if other != OURS}
    p_values = comparison.holm(
        {
            other: comparison.sign_flip(found)
            for other, found in gaps.items()
            if found and grouped[other].keys() >= set(tasks)
        }
    )
    titles = task_titles(grouped)
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
                _number(100 * mean_score(found, tasks) if method in whole else None, ".2f"),
                _number(100 * _deviation(found, tasks) if method in whole else None, ".2f"),
                _number(places.get(method), ".1f"),
                _number(costs.get(method), ".2g"),
                _number(100 * float(np.mean(gaps[method])) if gaps.get(method) else None, "+.2f"),
                chance(p_values.get(method)),
            ]
        )
    fewer = "" if whole.keys() == grouped.keys() else FEWER
    return f"{markdown.table(rows)}\n\nSeeds: {seeds}.{fewer}"


def wall_times(grouped: dict[str, dict[str, Records]]) -> list[str]:
    """Return the wall time of tokensieve relative to other methods, in total and by task, from
    undisturbed cells.
    """
    calm = comparison.by_task(
        comparison.undisturbed(
            [cell for tasks in grouped.values() for cells in tasks.values() for cell in cells]
        )
    )
    shares = []
    for other in ("end_to_end", "lora"):
        share = comparison.relative_costs(calm, other, comparison.wall).get(OURS)
        if share is not None:
            pairs = len(comparison.differences(calm, OURS, other))
            shares.append(
                f"{share:.2f} of {other}'s ({', '.join(_shares_by_task(calm, other))}; "
                f"{counted(pairs, 'pair')} of cells)"
            )
    return (
        [f"Wall seconds of cells that had a core to themselves: tokensieve takes {', '.join(shares)}."]
        if shares
        else []
    )


def _shares_by_task(calm: dict[str, dict[str, Records]], other: str) -> list[str]:
    shares = []
    for task in sorted(calm[OURS].keys() & calm[other].keys()):
        of_task = {method: {task: calm[method][task]} for method in (OURS, other)}
        if OURS in (found := comparison.relative_costs(of_task, other, comparison.wall)):
            shares.append(f"{task} {found[OURS]:.2f}")
    return shares


def task_titles(grouped: dict[str, dict[str, Records]]) -> dict[str, str]:
    """Return the name of each task, with the name of its score if that is not accuracy."""
    figures = {task: score_name(records[0]) for tasks in grouped.values() for task, records in tasks.items()}
    return {task: task if found == "accuracy" else f"{task} ({found})" for task, found in figures.items()}


def phase_table(grouped: dict[str, dict[str, Records]]) -> str:
    """Return the mean seconds per cell, by phase."""
    records = {
        method: [record for found in tasks.values() for record in found] for method, tasks in grouped.items()
    }
    names = list(
        dict.fromkeys(name for found in records.values() for record in found for name in record["phases"])
    )
    rows = [["seconds per cell", "all of training", *names, "peak MiB"]]
    for method, found in records.items():
        kind = "wall" if found[0]["device"] == "cuda" else "cpu"
        phases = [
            np.mean([record["phases"].get(name, {}).get(kind, 0.0) for record in found]) for name in names
        ]
        peak = max(record["peak_mib"].get("gpu", record["peak_mib"]["resident"]) for record in found)
        rows.append(
            [
                method,
                f"{np.mean([comparison.cost(record) for record in found]):.1f}",
                *(f"{s:.1f}" for s in phases),
                f"{peak:.0f}",
            ]
        )
    return markdown.table(rows)


def peaks(grouped: dict[str, dict[str, Records]]) -> str:
    """Return the peak memory of each method as a sentence: the mean over its cells.

    On a GPU it is that of the GPU.
    """
    found, gpu = [], False
    for method, tasks in grouped.items():
        cells = [record for records in tasks.values() for record in records]
        gpu = cells[0]["device"] == "cuda"
        mean = np.mean([cell["peak_mib"]["gpu" if gpu else "resident"] for cell in cells])
        found.append(f"{method} {mean:,.0f}")
    return f"Peak {'GPU memory' if gpu else 'memory'} in MiB, the mean over cells: {', '.join(found)}."


def origins(records: Records) -> str:
    """Return machines and commits, and a warning if cells of one method have different settings."""
    machines = sorted({comparison.machine_of(record) for record in records})
    commits = sorted({str(record["commit"]) for record in records})
    lines = [f"Machines: {'; '.join(machines)}. Commits: {', '.join(commits)}."]
    if mixed := _mixed(records):
        lines.append(
            f"Mixed: cells of {', '.join(mixed)} were made with different settings; run the benchmark again."
        )
    return "\n".join(lines)


def _mixed(records: Records) -> list[str]:
    """Return the methods whose cells of one task and encoder have different settings, with their
    variants.

    A variant may differ from its method only in the settings that it names.
    """
    mixed: set[str] = set()
    first: dict[tuple[str, tuple[str, str]], dict[str, Any]] = {}
    for record in sorted(records, key=lambda record: "@" in record["method"]):
        name, settings = record["method"], record["settings"]
        task = comparison.encoder_of(record), record["task"]
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


def mean_score(found: dict[str, Records], tasks: list[str]) -> float:
    """Return the mean over tasks of the mean over seeds; NaN if a task is missing."""
    return float(
        np.mean([np.mean(comparison.scores(found[task])) if task in found else math.nan for task in tasks])
    )


def _deviation(found: dict[str, Records], tasks: list[str]) -> float:
    """Return the mean over tasks of the standard deviation over seeds; NaN if a task is missing."""
    return float(
        np.mean(
            [
                comparison.spread(comparison.scores(found[task]))[1] if task in found else math.nan
                for task in tasks
            ]
        )
    )


def variant_table(records: Records) -> str:
    """Return a table of the variants, and of rivals with other scores, against ours on the tasks
    and seeds that both have.

    p is from the test of the main table, without the correction.
    """
    grouped = comparison.by_task(records)
    costs = comparison.relative_costs(grouped, OURS)
    rows = [["variant", "tasks", "pairs", "gap to tokensieve", "p, uncorrected", "cost against tokensieve"]]
    for method in [name for name in grouped if "@" in name] + [name for name in SCORES if name in grouped]:
        gaps = comparison.differences(grouped, method, OURS)
        if gaps:
            shared = ", ".join(sorted(grouped[method].keys() & grouped[OURS].keys()))
            points, p_value = f"{100 * float(np.mean(gaps)):+.2f}", f"{comparison.sign_flip(gaps):.2f}"
            rows.append(
                [f"`{method}`", shared, str(len(gaps)), points, p_value, _number(costs.get(method), ".2f")]
            )
    return markdown.table(rows) if len(rows) > 1 else ""


def _cell(records: Records, seeds: int) -> str:
    if not records:
        return "–"
    mean, deviation = comparison.spread(comparison.scores(records))
    fewer = f" ({len(records)})" if len(records) < seeds else ""
    return f"{100 * mean:.2f}" + ("" if math.isnan(deviation) else f" ± {100 * deviation:.2f}") + fewer


def chance(p_value: float | None) -> str:
    """Return a p-value as text."""
    return "<0.001" if p_value is not None and p_value < 0.0005 else _number(p_value, ".3f")


def _number(value: float | None, form: str) -> str:
    return "–" if value is None or math.isnan(value) else format(value, form)
