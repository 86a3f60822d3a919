"""Promote: make a registered version the champion, the version that servers load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.champion_text import promoted_text
from flows.notifications import promoted
from tasks.promotion import promote as promotions
from tokensieve.project import Layout
from tokensieve.settings import Settings


@flow
def promote(
    project: Path, version: str | None = None, reason: str | None = None, other_project: bool = False
) -> dict[str, Any]:
    """Make `version`, by default the challenger, the champion of the project's model.

    Args:
        project: The project's folder.
        version: The number of the version.
        reason: Why. It is needed, with `version`, to promote a version that was rolled back.
        other_project: Promote the version even if another project registered it.
    """
    layout = Layout(project)
    settings = Settings.load(layout.params)
    moved = promotions.promote(layout, settings, version, reason, other_project, flow_run.id)
    promoted(layout, moved, "promote", reason)
    get_run_logger().info("%s", promoted_text(moved, str(project)))
    return moved
