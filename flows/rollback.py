"""Roll back: the champion before this one becomes the champion again."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger

from tasks import tracking
from tokensieve.layout import Layout
from tokensieve.settings import Settings


@flow
def rollback(project: Path) -> dict[str, str | None]:
    """Make the champion that the last promotion replaced the champion of the project's model."""
    layout = Layout(project)
    moved = tracking.rollback(layout, Settings.load(layout.params))
    get_run_logger().info("Version %s of %s is the champion again, instead of %s.", moved["version"], moved["name"], moved["replaced"])
    return moved
