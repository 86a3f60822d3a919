"""Promote the challenger of a retrain, if the gate and, on demand, a person approve it."""

from __future__ import annotations

from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.events import ModelRefused
from flows.notifications import announce, promoted
from tasks.promotion import promote as promotions
from tasks.promotion.gate_report import GateReport
from tokensieve.errors import Refused
from tokensieve.project import Layout
from tokensieve.report.markdown import inline
from tokensieve.settings import Settings

APPROVAL_SECONDS = 24 * 3600  # for which a person may approve


def promote_challenger(
    layout: Layout, settings: Settings, result: dict[str, Any], report: GateReport | None, approve: bool
) -> State[Any] | None:
    """Promote the challenger that a retrain has registered, and add the promotion to `result`.

    Args:
        layout: The project.
        settings: Its settings.
        result: The summary of the retrain.
        report: Of the gate. None: there is none, for example because the version is the champion.
        approve: Wait until a person resumes the flow run.

    Returns:
        The final state of the run if nothing was promoted: Refused or NotApproved. Otherwise None.
    """
    name, version = result["model_name"], result["model_version"]
    is_refused = settings.gate.mode == "enforce" and report is not None and report.refused
    reason = "retrained, approved by a person" if approve else "retrained"
    try:
        # A person is not asked about a version that is refused below.
        if approve and not is_refused and not _approved():
            message = f"Nobody approved version {version} of {name} within {APPROVAL_SECONDS // 3600} hours."
            return Completed(name="NotApproved", message=message, data=result)
        moved = promotions.promote(layout, settings, version, reason, flow_run=flow_run.id, by_person=False)
    except Refused as refused:
        return refused_state(layout, name, version, refused, result)
    promoted(layout, moved, "promote", reason)
    result["promoted"] = moved
    return None


def refused_state(
    layout: Layout, name: str, version: str, refused: Refused, result: dict[str, Any] | None = None
) -> State[Any]:
    """Announce a refusal, unless it was announced before, and write it to the run's page.

    Return the final state of the run, with `result`.
    """
    if not refused.is_known:
        announce(layout, ModelRefused(name, version, str(refused)))
    page = f"# Refused\n\n{inline(str(refused))}\n"
    if refused.detail:
        page += f"\n```text\n{refused.detail}\n```\n"
    create_markdown_artifact(key="refused", markdown=page, description=f"{layout.root.name}: refused")
    state: State[Any] = Completed(name="Refused", message=str(refused), data=result)
    return state


def _approved() -> bool:
    """Pause the flow run. Return whether a person has resumed it in time."""
    try:
        pause_flow_run(timeout=APPROVAL_SECONDS, key="approve")
    except FlowPauseTimeout:
        return False
    return True
