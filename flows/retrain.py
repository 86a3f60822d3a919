"""Retrain: from labelled texts to an exported and registered classifier."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import deployment
from prefect.states import Completed

from flows.failure import noted, reported
from flows.gated_promotion import promote_challenger
from flows.prefect_page import final_message, show_run
from flows.prefect_runs import alone, log_to_page
from flows.summary import summarize
from tasks.plan import make_plan
from tasks.projects.last_run import note_begin, note_result
from tasks.projects.project import open_project, template
from tasks.projects.upgrade import complete_stages
from tasks.promotion.gate_report import GateReport
from tasks.stage import gate_task, ingest_task, registry_task, report_task, stage_task
from tasks.versioning.dvc_pipeline import stage_names
from tokensieve.project import Layout
from tokensieve.registry.store import tracking_uri, without_password
from tokensieve.settings import Settings, tried

log = logging.getLogger("tokensieve")

SKIPPED: State[Any] = Completed(
    name="Skipped", message="Another run of this project with the same parameters is waiting already."
)


@flow(name="retrain", flow_run_name="retrain {project}", persist_result=False)
def retrain(
    project: Path = Path(),
    data: str | None = None,
    test: str | None = None,
    force: bool = False,
    changes: Sequence[str] = (),
    promote: bool = False,
    approve: bool = False,
) -> dict[str, Any]:
    """Ingest `data`, run each stage of dvc.yaml that is stale, and return the summary.

    One run of a project works at a time, and the others wait. A deployed run ends as Skipped if
    another one with the same parameters is waiting already.

    Args:
        project: The project's folder. It is made if it does not exist.
        data: A file, a folder or a URL. Without it, the project's present data are used.
        test: A file or a URL with the part test.
        force: Run every stage, also those that are current.
        changes: Settings as section.key=value. They are written to params.yaml, and undone if the
            run fails.
        promote: Promote the challenger if the gate passes it. Otherwise the run ends as Refused.
        approve: Before that, wait until a person resumes the run in Prefect.
    """
    log_to_page()
    layout = Layout(project.resolve())
    # Addresses may contain passwords: their hashes are kept.
    hashes = [address and hashlib.sha256(address.encode()).hexdigest() for address in (data, test)]
    parameters = {"data": hashes[0], "test": hashes[1], "force": force, "changes": list(changes)}
    with alone(layout, parameters, skip=deployment.id is not None) as turn:
        if not turn:
            # Prefect makes a state that a flow returns the state of the run.
            return SKIPPED  # type: ignore[return-value]
        is_noted = not promote or approve  # an approval may take a day
        settings, result, report, is_new = _run_noted(layout, data, test, force, changes, is_noted)
    if promote:
        with noted(layout):
            state = promote_challenger(layout, settings, result, report, approve)
        note_result(layout, str(state.message) if state else final_message(result, is_new))
        if state:
            return state  # type: ignore[return-value]
    message = final_message(result, is_new)
    if not is_new:
        log.info("%s", message)
    return Completed(message=message, data=result)  # type: ignore[return-value]


def _run_noted(
    layout: Layout, data: str | None, test: str | None, force: bool, changes: Sequence[str], is_noted: bool
) -> tuple[Settings, dict[str, Any], GateReport | None, bool]:
    """Run each step, show the run in Prefect, and note in the project why it failed.

    With `is_noted`, note what it made, too. Return the settings, the summary, the report of the
    gate, and whether something new was made.
    """
    note_begin(layout)
    with noted(layout):
        open_project(layout.root)
        with tried(layout.params, list(changes)):
            settings = Settings.load(layout.params)
            result, report = _run_stages(layout, settings, data, test, force)
        is_new = not set(stage_names(layout)) <= set(result["skipped"])
        show_run(result, layout, without_password(tracking_uri(layout, settings)), is_new)
        if is_noted:
            note_result(layout, final_message(result, is_new))
    return settings, result, report, is_new


def _run_stages(
    layout: Layout, settings: Settings, data: str | None, test: str | None, force: bool
) -> tuple[dict[str, Any], GateReport | None]:
    """Run each step of a retrain, and return the summary and the report of the gate."""
    names, seconds = stage_names(layout), dict[str, float | None]()
    with reported(layout, ("ingest", "registry", *names, "gate", "report"), seconds):
        seconds["ingest"] = ingest_task(layout, settings, data, test)
        seconds["registry"] = registry_task(layout, settings, force)
        complete_stages(layout, template())
        log.info("%-10s %s", "plan", make_plan(layout, names, force))
        for name in names:
            seconds[name] = stage_task(layout, name, force)
        report, seconds["gate"] = gate_task(layout, settings)
        seconds["report"] = report_task(layout, settings)
        return summarize(layout, settings, seconds, report), report
