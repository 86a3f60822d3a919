"""Promote: a registered version becomes the champion, the one that servers load."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger

from tasks import tracking
from tokensieve.layout import Layout
from tokensieve.settings import Settings


@flow
def promote(project: Path, version: str | None = None) -> dict[str, str | None]:
    """Make `version`, by default the challenger, the champion of the project's model."""
    layout = Layout(project)
    moved = tracking.promote(layout, Settings.load(layout.params), version)
    if moved["version"] == moved["replaced"]:
        get_run_logger().info("Version %s of %s is the champion already.", moved["version"], moved["name"])
    else:
        get_run_logger().info("Version %s of %s is the champion; before: %s.", moved["version"], moved["name"], moved["replaced"] or "none")
    return moved
