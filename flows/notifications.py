"""Notify people of a promotion, a refusal or a failed run: by a webhook and an event for Prefect.

Prefect's notification blocks (Slack, Teams, e-mail) listen to the same events; see
deploy/notifications.yaml.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection
from dataclasses import asdict
from http.client import HTTPException
from typing import Any

from flows.events import Event, ModelPromoted, ModelRefused, RunFailed, emit, post
from tokensieve.project import Layout

VARIABLE = "TOKENSIEVE_WEBHOOK"
SECONDS = 2.0  # per request

log = logging.getLogger("tokensieve")


def announce(
    layout: Layout, event: ModelPromoted | ModelRefused | RunFailed, received: Collection[str] = ()
) -> tuple[str, ...]:
    """Send an event to Prefect's server and to the webhook, except to those in `received`.

    Takes at most twice `SECONDS` and raises nothing.

    Returns:
        Which of "prefect" and "webhook" have received it, now or before. A webhook that is not set
        counts as one that has.
    """
    done = set(received)

    def deliver(name: str, send: Callable[[Layout, Event], bool]) -> None:
        if send(layout, event):
            done.add(name)

    threads = [
        threading.Thread(target=deliver, args=[name, send], name=name, daemon=True)
        for name, send in (("prefect", emit), ("webhook", call_webhook))
        if name not in received
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    return tuple(sorted(done.copy()))


def promoted(layout: Layout, moved: dict[str, Any], action: str, reason: str | None = None) -> None:
    """Announce what `tasks.promotion.promote` returned, unless the champion has stayed the same."""
    if moved["version"] != moved["replaced"]:
        announce(layout, ModelPromoted(moved["name"], moved["version"], moved["replaced"], action, reason))


def call_webhook(layout: Layout, event: Event) -> bool:
    """POST an event as JSON to the address in TOKENSIEVE_WEBHOOK, if it is set.

    The key `text` has the event in words, as Slack, Mattermost and others show it. A failure is
    logged without the address, which often contains a secret. Return False after one.
    """
    address = os.environ.get(VARIABLE)
    if not address:
        return True
    body = {"text": text(layout, event), "event": event.name, "project": str(layout.root), **asdict(event)}
    try:
        post(address, body, SECONDS, {})
    except (OSError, HTTPException, ValueError) as error:
        status = getattr(error, "code", None) or type(error).__name__
        log.warning("%s was not notified of %s (%s)", VARIABLE, event.name, status)
        return False
    return True


def text(layout: Layout, event: Event) -> str:
    """Return an event in words."""
    name = layout.root.name
    if isinstance(event, ModelPromoted):
        before = f"; before: version {event.replaced}" if event.replaced else ""
        why = f"; reason: {event.reason}" if event.reason else ""
        verb = "again the champion" if event.action == "rollback" else "now the champion"
        return f"{name}: version {event.version} of {event.model} is {verb}{before}{why}"
    if isinstance(event, ModelRefused):
        return f"{name}: version {event.version} of {event.model} is refused: {event.reason}"
    if isinstance(event, RunFailed):
        stage = f" in stage {event.stage}" if event.stage else ""
        return f"{name}: {event.run} failed{stage}: {event.reason}"
    return f"{name}: {event.name}"
