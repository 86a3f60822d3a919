"""Retrain: labelled texts in, a registered and exported classifier out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import deployment
from prefect.states import Completed

from flows.run_page import summary_markdown
from tasks import prefect_runs
from tasks.dvc_pipeline import stage_names
from tasks.project import open_project
from tasks.stage import ingest_task, registry_task, stage_task
from tasks.summary import summary
from tokensieve.project import Layout
from tokensieve.registry.store import tracking_uri, without_password
from tokensieve.settings import Settings, tried

SKIPPED: State[Any] = Completed(
    name="Skipped", message="Another run of this project with the same parameters waits already."
)


@flow(name="retrain", flow_run_name="retrain {project}", persist_result=False)
def retrain(
    project: Path = Path(),
    data: str | None = None,
    test: str | None = None,
    force: bool = False,
    changes: Sequence[str] = (),
) -> dict[str, Any]:
    """Take `data` in as the project's raw data (without it: what is there), run each stage of dvc.yaml that is stale, and
    return the summary. With `force`, every stage runs.

    `changes` are section.key=value assignments of settings. They are written into params.yaml, and taken back if the run fails.

    One run of a project works at a time; the others wait. A deployed run ends as Skipped if another with the same parameters
    waits already.
    """
    prefect_runs.log_to_page()
    layout = Layout(project.resolve())
    # By their hashes: addresses may hold passwords.
    named = {
        key: value and hashlib.sha256(value.encode()).hexdigest()
        for key, value in (("data", data), ("test", test))
    }
    parameters = {**named, "force": force, "changes": list(changes)}
    with prefect_runs.alone(layout, parameters, skip=deployment.id is not None) as turn:
        if not turn:
            # Prefect takes a state that a flow returns for the run's own.
            return SKIPPED  # type: ignore[return-value]
        open_project(layout.root)
        with tried(layout.params, list(changes)):
            settings = Settings.load(layout.params)
            seconds = {
                "ingest": ingest_task(layout, settings, data, test),
                "registry": registry_task(layout, settings, force),
            }
            for name in stage_names(layout):
                seconds[name] = stage_task(layout, name, force)
            result = summary(layout, settings, seconds)
        page = summary_markdown(result, layout, without_password(tracking_uri(layout, settings)))
        create_markdown_artifact(
            key="retrain-summary", markdown=page, description=f"Summary of {layout.root.name}"
        )
    return result
