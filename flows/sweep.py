"""Sweep: train with other settings, seeds and folds of the texts, and rank the settings."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.prefect_runs import alone, log_to_page
from flows.sweep_cells import Progress, Workers, choose_workers, run_cells
from flows.sweep_text import sweep_markdown
from tasks.artifacts import SplitSizes
from tasks.split import load_labels
from tasks.stage import ingest_task, registry_task, stage_task
from tasks.sweeps.cell import Cell, copy_texts
from tasks.sweeps.ranking import Row, check_metric, rank
from tasks.sweeps.space import Changes, Space, combinations, present, read_seeds, read_space, settings_of
from tasks.tracking.log_sweep import log_sweep
from tasks.vocabulary import base_folder
from tokensieve.errors import InputError
from tokensieve.files import locked
from tokensieve.model.encoder import weights_hash
from tokensieve.project import Layout
from tokensieve.registry.store import RegistryError
from tokensieve.settings import Settings

log = logging.getLogger("tokensieve")


@dataclass(frozen=True)
class Plan:
    """What a sweep tries, and on which texts.

    Attributes:
        space: The values of each setting.
        seeds: The random seeds.
        folds: The number of folds.
        metric: The figure by which settings are ranked.
        data: The hash of the texts.
        texts: The number of training texts.
    """

    space: Space
    seeds: tuple[int, ...]
    folds: int
    metric: str
    data: str
    texts: int


@flow(name="sweep", flow_run_name="sweep {project}", persist_result=False)
def sweep(
    project: Path = Path(),
    grid: Sequence[str] = (),
    seeds: str = "0",
    folds: int = 5,
    trials: int | None = None,
    metric: str | None = None,
    processes: int | None = None,
    dask: str | None = None,
) -> dict[str, Any]:
    """Cross-validate each combination of settings, and return the ranking.

    Args:
        project: The project's folder.
        grid: Settings and values, as section.key=value,value. Without it, the project's own
            settings are cross-validated.
        seeds: Random seeds, for example 0-4. Each deals the folds anew.
        folds: The number of folds of the training texts.
        trials: Search this many combinations with Optuna instead of trying all.
        metric: The figure by which settings are ranked.
        processes: Worker processes on this machine.
        dask: The address of a Dask scheduler whose workers compute instead.
    """
    log_to_page()
    layout = Layout(project.resolve())
    parameters = {"grid": list(grid), "seeds": seeds, "folds": folds, "trials": trials, "metric": metric}
    with alone(layout, parameters, skip=False, lock=layout.sweep_busy):
        with locked(layout.busy):
            plan = _prepare(layout, grid, seeds, folds, trials, metric)
        workers = choose_workers(Settings.load(layout.params), processes, dask)
        results = _search(layout, plan, workers, trials) if trials else _try_all(layout, plan, workers)
        result = _summary(layout, plan, rank(results, plan.metric, folds))
        _track(layout, plan, results, result)
        create_markdown_artifact(
            key="sweep", markdown=sweep_markdown(result, layout), description=f"Sweep of {layout.root.name}"
        )
    return result


def _prepare(
    layout: Layout, grid: Sequence[str], seeds: str, folds: int, trials: int | None, metric: str | None
) -> Plan:
    """Validate and split the data, and return what is to be tried."""
    settings = Settings.load(layout.params)
    space = read_space(layout.params, grid, searches=bool(trials))
    ingest_task(layout, settings, None, None)
    registry_task(layout, settings)
    for name in ("validate", "split"):
        stage_task(layout, name)
    _, multi_label = load_labels(layout, "train")
    texts = SplitSizes.load(layout.split).train
    if not 2 <= folds <= texts // 2:
        raise InputError(f"--folds is {folds}; use 2 to {texts // 2}, half of the {texts:,} training texts")
    return Plan(space, read_seeds(seeds), folds, check_metric(metric, multi_label), copy_texts(layout), texts)


def _try_all(layout: Layout, plan: Plan, workers: Workers) -> dict[Changes, list[dict[str, Any]]]:
    """Run every combination, and return the results of its cells."""
    tried = combinations(plan.space)
    return _run(layout, plan, tried, workers, Progress(len(tried) * len(plan.seeds) * plan.folds))


def _search(layout: Layout, plan: Plan, workers: Workers, trials: int) -> dict[Changes, list[dict[str, Any]]]:
    """Run the combinations that Optuna proposes, and return the results of their cells."""
    from tasks.sweeps.search import search

    progress = Progress(trials * len(plan.seeds) * plan.folds)
    results: dict[Changes, list[dict[str, Any]]] = {}

    def measure(batch: Sequence[Changes]) -> list[float]:
        results.update(_run(layout, plan, batch, workers, progress))
        rows = {row.changes: row.figures[plan.metric].mean for row in rank(results, plan.metric, plan.folds)}
        return [rows[changes] for changes in batch]

    journal = layout.sweep / "trials.journal"
    first = present(layout.params, plan.space)
    found = search(journal, _key(layout, plan), plan.space, trials, first, measure)
    return {changes: results[changes] for changes in found}


def _run(
    layout: Layout, plan: Plan, tried: Sequence[Changes], workers: Workers, progress: Progress
) -> dict[Changes, list[dict[str, Any]]]:
    """Return the results of the cells of each combination, in the order of seed and fold."""
    hashes: dict[str, str] = {}
    names: dict[Cell, str] = {}
    cells: dict[Changes, list[Cell]] = {}
    for changes in tried:
        cells[changes] = []
        for seed in plan.seeds:
            settings = settings_of(layout.params, changes, seed)
            if settings.base.model not in hashes:
                hashes[settings.base.model] = weights_hash(base_folder(layout, settings))
            for fold in range(plan.folds):
                cell = Cell(settings, fold, plan.folds, plan.data, hashes[settings.base.model])
                cells[changes].append(cell)
                names[cell] = " ".join([*changes, f"seed {seed}", f"fold {fold}"])
    found = dict(zip(names, run_cells(layout, names, workers, progress), strict=True))
    return {changes: [found[cell] for cell in own] for changes, own in cells.items()}


def _key(layout: Layout, plan: Plan) -> str:
    """Return the hash of everything that decides the results of a sweep."""
    tree = [asdict(plan), asdict(Settings.load(layout.params))]
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:32]


def _summary(layout: Layout, plan: Plan, rows: list[Row]) -> dict[str, Any]:
    """Return the ranking as a tree of JSON."""
    own = Settings.load(layout.params)
    unchanged = [row for row in rows if settings_of(layout.params, row.changes, own.data.seed) == own]
    return {
        "metric": plan.metric,
        "seeds": list(plan.seeds),
        "folds": plan.folds,
        "texts": plan.texts,
        "cells": len(rows) * len(plan.seeds) * plan.folds,
        "rows": [
            {
                "settings": list(row.changes),
                "figures": {name: asdict(found) for name, found in row.figures.items()},
                "behind": row.behind and asdict(row.behind),
                "is_worse": row.is_worse,
                "is_present": row in unchanged,
                "seconds": row.seconds,
            }
            for row in rows
        ],
        "key": _key(layout, plan),
    }


def _track(
    layout: Layout, plan: Plan, results: dict[Changes, list[dict[str, Any]]], result: dict[str, Any]
) -> None:
    """Log the sweep to MLflow. If MLflow does not answer, warn: files keep the results."""
    numbers = [(seed, fold) for seed in plan.seeds for fold in range(plan.folds)]
    try:
        log_sweep(layout, Settings.load(layout.params), result, results, numbers)
    except RegistryError as error:
        log.warning("the sweep is not logged to MLflow: %s; the same command logs it", error)
