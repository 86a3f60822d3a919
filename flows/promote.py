"""Promote: make a registered version the champion, the version that servers load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.champion_text import promoted_text
from flows.gated_promotion import refused_state
from flows.notifications import promoted
from tasks.promotion import promote as promotions
from tokensieve.errors import Refused
from tokensieve.project import Layout
from tokensieve.registry.project_identity import identity
from tokensieve.settings import Settings


@flow
def promote(
    project: Path,
    version: str | None = None,
    reason: str | None = None,
    other_project: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Make `version`, by default the challenger, the champion of the project's model.

    If the gate refuses it, the run ends as Refused, and the page has the rules.

    Args:
        project: The project's folder.
        version: The number of the version.
        reason: Why. It is needed, with `version`, to promote a version that was rolled back, and
            with `force`.
        other_project: Promote the version even if another project registered it.
        force: Promote the version even if the gate refuses it.
    """
    layout = Layout(project)
    settings = Settings.load(layout.params)
    try:
        moved = promotions.promote(layout, settings, version, reason, other_project, flow_run.id, force)
    except Refused as refused:
        # Prefect makes a state that a flow returns the state of the run.
        return refused_state(  # type: ignore[return-value]
            layout, identity(layout, settings).model, version or "challenger", refused
        )
    promoted(layout, moved, "promote", reason)
    get_run_logger().info("%s", promoted_text(moved, str(project)))
    return moved
