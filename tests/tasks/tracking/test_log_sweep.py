from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tasks.tracking import log_sweep as module
from tasks.tracking.log_sweep import log_sweep
from tokensieve.project import Layout
from tokensieve.settings import Settings

NUMBERS = [(0, 0), (0, 1)]
RESULTS = {
    (f"mask.budget={budget}",): [
        {"figures": {"accuracy": budget + fold}, "seconds": 2.0, "epochs": 3, "texts": 9} for fold in (0, 1)
    ]
    for budget in (0.1, 0.2)
}
RESULT: dict[str, Any] = {
    "key": "k",
    "metric": "accuracy",
    "seeds": [0],
    "folds": 2,
    "texts": 9,
    "cells": 4,
    "rows": [{"settings": ["mask.budget=0.2"], "figures": {"accuracy": {"mean": 0.7}}}],
}


def runs(client: MlflowClient) -> list[Any]:
    experiment = client.get_experiment_by_name("tokensieve-sweeps")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


@pytest.fixture
def client(layout: Layout, database: Path) -> MlflowClient:
    shutil.copy(database, layout.root / "mlflow.db")
    return MlflowClient(f"sqlite:///{layout.root / 'mlflow.db'}")


def test_a_sweep_is_a_run_with_a_run_per_cell(layout: Layout, client: MlflowClient) -> None:
    log_sweep(layout, Settings(), RESULT, RESULTS, NUMBERS)
    log_sweep(layout, Settings(), RESULT, RESULTS, NUMBERS)  # the same sweep is logged once

    (parent,) = [run for run in runs(client) if "tokensieve.sweep" in run.data.tags]
    cells = [run for run in runs(client) if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert parent.data.params["best"] == "mask.budget=0.2"
    assert parent.data.metrics == {"accuracy": 0.7}
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["sweep.json"]
    assert len(runs(client)) == 5
    assert {
        (run.data.params["mask.budget"], run.data.params["fold"], run.data.metrics["accuracy"])
        for run in cells
    } == {
        ("0.1", "0", 0.1),
        ("0.1", "1", 1.1),
        ("0.2", "0", 0.2),
        ("0.2", "1", 1.2),
    }
    assert {run.info.status for run in runs(client)} == {"FINISHED"}


def test_a_killed_logging_goes_on(
    layout: Layout, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_values, count = module.log_values, iter(range(100))

    def killed(*arguments: Any) -> None:
        if next(count) == 2:
            raise KeyboardInterrupt
        log_values(*arguments)

    with monkeypatch.context() as context:
        context.setattr(module, "log_values", killed)
        with pytest.raises(KeyboardInterrupt):
            log_sweep(layout, Settings(), RESULT, RESULTS, NUMBERS)
    log_sweep(layout, Settings(), RESULT, RESULTS, NUMBERS)

    finished = [run.info.run_name for run in runs(client) if run.info.status == "FINISHED"]
    assert sorted(finished) == sorted(
        [f"mask.budget={budget} seed 0 fold {fold}" for budget in (0.1, 0.2) for fold in (0, 1)]
        + [f"sweep {layout.root.name}"]
    )
