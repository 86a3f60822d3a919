"""A sweep in MLflow: one run for the sweep, and below it one run per cell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.sweeps.space import Changes
from tasks.tracking.mlflow_client import connect, log_values, open_experiment
from tokensieve.project import Layout
from tokensieve.registry.store import tracking_uri
from tokensieve.settings import Settings

SUFFIX = "-sweeps"  # of the experiment's name: cells are not beside the runs that register models
SWEEP, CELL = "tokensieve.sweep", "tokensieve.cell"  # tags


def log_sweep(
    layout: Layout,
    settings: Settings,
    result: Mapping[str, Any],
    results: Mapping[Changes, Sequence[Mapping[str, Any]]],
    numbers: Sequence[tuple[int, int]],
) -> None:
    """Log the sweep and its cells. What an earlier call has logged is not logged again.

    Args:
        layout: The project.
        settings: Its settings.
        result: The ranking; `key` identifies the sweep.
        results: The content of the cells' files by combination.
        numbers: Seed and fold of each cell of a combination.

    Raises:
        RegistryError: If MLflow does not answer.
    """
    client = connect(tracking_uri(layout, settings))
    experiment = open_experiment(client, layout, settings.register.experiment + SUFFIX)
    found = client.search_runs([experiment], f"tags.`{SWEEP}` = '{result['key']}'", max_results=1)
    if found and found[0].info.status == "FINISHED":
        return
    name = f"sweep {layout.root.name}"
    run = found[0] if found else client.create_run(experiment, tags={SWEEP: result["key"]}, run_name=name)
    parent = run.info.run_id
    logged = _logged(client, experiment, parent)
    for changes, cells in results.items():
        for (seed, fold), cell in zip(numbers, cells, strict=True):
            cell_name = " ".join([*changes, f"seed {seed}", f"fold {fold}"])
            if cell_name not in logged:
                parameters = dict(change.split("=", 1) for change in changes)
                parameters |= {"data.seed": str(seed), "fold": str(fold)}
                figures = cell["figures"] | {"seconds": cell["seconds"], "epochs": cell["epochs"]}
                _log_cell(client, experiment, parent, cell_name, parameters, figures)
    best = result["rows"][0]
    parameters = {key: str(result[key]) for key in ("metric", "seeds", "folds", "texts", "cells")}
    parameters["best"] = " ".join(best["settings"])
    log_values(client, parent, parameters, {name: value["mean"] for name, value in best["figures"].items()})
    client.log_text(parent, json.dumps(result, indent=1, ensure_ascii=False), "sweep.json")
    client.set_terminated(parent)


def _logged(client: Any, experiment: str, parent: str) -> set[str]:
    """Return the names of the cells below `parent` that are logged whole."""
    names: set[str] = set()
    token = None
    while True:
        condition = f"tags.`mlflow.parentRunId` = '{parent}' and attributes.status = 'FINISHED'"
        page = client.search_runs([experiment], condition, page_token=token)
        names |= {run.data.tags[CELL] for run in page}
        token = page.token
        if not token:
            return names


def _log_cell(
    client: Any,
    experiment: str,
    parent: str,
    name: str,
    parameters: Mapping[str, str],
    figures: Mapping[str, float],
) -> None:
    tags = {"mlflow.parentRunId": parent, CELL: name}
    run = client.create_run(experiment, tags=tags, run_name=name).info.run_id
    log_values(client, run, parameters, figures)
    client.set_terminated(run)
