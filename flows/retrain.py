"""Retrain: labelled texts in, a registered and exported classifier out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_table_artifact

from tasks import versioning
from tasks.stage import run_stage, version_data
from tasks.summary import summary
from tokensieve.folder import locked
from tokensieve.settings import Settings


@flow(name="retrain", flow_run_name="retrain {project}", persist_result=False)
def retrain(project: Path = Path(), data: str | None = None, test: str | None = None, force: bool = False) -> dict[str, Any]:
    """Take `data` in as the project's raw data (without it: what is there), run each stage of dvc.yaml that is stale, and
    return the summary. With `force`, every stage runs."""
    layout = versioning.open_project(project)
    settings = Settings.load(layout.params)

    with locked(layout.busy):
        seconds = {"version": version_data(layout, settings, data, test)}
        for name in versioning.stages(layout):
            seconds[name] = run_stage(layout, name, force)
        result = summary(layout, seconds)

    create_table_artifact(key="retrain-summary", table=[{"figure": key, "value": str(value)} for key, value in result.items()])
    return result
