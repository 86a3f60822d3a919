"""Roll back: make the previous champion the champion again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.champion_text import rolled_back_text
from flows.notifications import promoted
from tasks.promotion import promote as promotions
from tokensieve.project import Layout
from tokensieve.settings import Settings


@flow
def rollback(project: Path, reason: str | None = None) -> dict[str, Any]:
    """Make the previous champion that still exists the champion of the project's model."""
    layout = Layout(project)
    moved = promotions.rollback(layout, Settings.load(layout.params), reason, flow_run.id)
    promoted(layout, moved, "rollback", reason)
    get_run_logger().info("%s", rolled_back_text(moved, str(project)))
    return moved
