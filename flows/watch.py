"""Watch: notice that the data have changed, and emit an event that starts a retraining."""

from __future__ import annotations

import logging
from pathlib import Path

from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.events import DataChanged, emit
from flows.failure import look_reported
from flows.prefect_runs import log_to_page
from tasks.projects.last_look import note_look
from tasks.stage import is_transient
from tasks.versioning.download import public
from tasks.versioning.watched_data import content_hash
from tokensieve.files import read_json_or_none, write_json
from tokensieve.project import Layout

log = logging.getLogger("tokensieve")

look = task(
    name="look",
    retries=2,
    retry_delay_seconds=[5, 30],
    retry_condition_fn=is_transient,
    persist_result=False,
)(content_hash)


@flow(name="watch", flow_run_name="watch {project}", persist_result=False)
def watch(project: Path, data: str | None = None) -> State[bool]:
    """Emit the event `tokensieve.data.changed` if the content of `data` differs from the last look.

    The first look emits it, too. Without `data`, nothing is watched.

    Args:
        project: The project's folder.
        data: A file, a folder or a URL, as for the flow retrain.
    """
    log_to_page()
    if data is None:
        return Completed(message="There are no data to watch: the parameter data is empty.", data=False)
    layout = Layout(project.resolve())
    with look_reported(layout, "watch"):
        is_changed = _look(layout, data)
        message = f"{public(data)} {'has changed' if is_changed else 'is unchanged'}."
        note_look(layout, "watch", message)
    return Completed(message=message, data=is_changed)


def _look(layout: Layout, data: str) -> bool:
    """Emit the event if the content of `data` has changed, and return whether it has."""
    content, source = look(data), public(data)
    seen = read_json_or_none(layout.watched) or {}
    if seen.get(source) == content:
        return False
    log.info("%s has changed", source)
    if emit(layout, DataChanged(source, content, seen.get(source))):
        layout.watched.parent.mkdir(parents=True, exist_ok=True)
        write_json(layout.watched, seen | {source: content})
    return True
