"""Monitor: compare the traffic since the last run with the champion's held-out texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.drift_text import drift_text, verdict
from flows.events import DriftFound, emit
from flows.failure import look_reported
from flows.prefect_runs import log_to_page
from tasks.monitoring.drift import look_for_drift
from tasks.projects.last_look import note_look
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.settings import Settings


@flow(name="monitor", flow_run_name="monitor {project}", persist_result=False)
def monitor(project: Path, log: Path, texts: int = 200) -> dict[str, Any]:
    """Look for drift in the server's log of texts. Emit an event if two windows in a row differ.

    Args:
        project: The project's folder.
        log: The file that `tokensieve serve --log-texts` writes.
        texts: The least number of texts to compare; fewer wait for the next look.
    """
    log_to_page()
    layout = Layout(project.resolve())
    with look_reported(layout, "monitor"):
        if not layout.params.exists():
            raise InputError(f"{layout.root} is not a project (no params.yaml); set the parameter project")
        report = look_for_drift(layout, Settings.load(layout.params), log, texts)
        create_markdown_artifact(
            key="drift",
            markdown=f"```\n{drift_text(report, words=False)}\n```\n",
            description=verdict(report),
        )
        if report.alarm and report.found:
            signs = tuple(test.name for test in report.found.tests if test.differs)
            emit(layout, DriftFound(report.model, report.version, report.found.texts, signs))
        note_look(layout, "monitor", verdict(report))
    return {"alarm": report.alarm, "differs": report.differs, "waiting": report.waiting}
