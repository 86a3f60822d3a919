"""The events of a project: their names and payloads, and how they reach Prefect's server.

The deployments in deploy/prefect.yaml have triggers for them. An event may be lost, for example
while the server restarts. The schedule does the same work later.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import Request

from tokensieve.errors import InputError
from tokensieve.files import read_json_or_none
from tokensieve.project import Layout
from tokensieve.registry.credentials import plain_address
from tokensieve.registry.http_deadline import open_url

SECONDS = 2.0  # for the whole request

log = logging.getLogger("tokensieve")


@dataclass(frozen=True)
class DataChanged:
    """The watched data have changed.

    Attributes:
        source: Their address, without credentials.
        content: The hash of their content.
        before: The hash at the last look. None at the first one.
    """

    name: ClassVar[str] = "tokensieve.data.changed"
    source: str
    content: str
    before: str | None


@dataclass(frozen=True)
class DriftFound:
    """The texts that the model is asked about differ from the held-out texts, twice in a row.

    Attributes:
        model: The name of the registered model.
        version: Its version.
        texts: The number of texts that were compared.
        signs: The names of the tests in which they differ.
    """

    name: ClassVar[str] = "tokensieve.drift.found"
    model: str
    version: str
    texts: int
    signs: tuple[str, ...]


@dataclass(frozen=True)
class ModelPromoted:
    """A version of the model has become the champion.

    Attributes:
        model: The name of the registered model.
        version: The champion's version.
        replaced: The champion before. None if there was none.
        action: promote or rollback.
        reason: Why, if a reason was given.
    """

    name: ClassVar[str] = "tokensieve.model.promoted"
    model: str
    version: str
    replaced: str | None
    action: str
    reason: str | None


@dataclass(frozen=True)
class ModelRefused:
    """The gate has refused a version of the model.

    Attributes:
        model: The name of the registered model.
        version: The refused version.
        reason: The rules that it broke.
    """

    name: ClassVar[str] = "tokensieve.model.refused"
    model: str
    version: str
    reason: str


@dataclass(frozen=True)
class RunFailed:
    """A run has failed. Prefect has an event of its own for this; this one has the reason.

    Attributes:
        stage: The stage that failed. Empty if the flow has none, or its process was killed.
        reason: The message of its error, which contains the remedy.
        run: The name of the run.
    """

    name: ClassVar[str] = "tokensieve.run.failed"
    stage: str
    reason: str
    run: str


Event = DataChanged | DriftFound | ModelPromoted | ModelRefused | RunFailed


def emit(layout: Layout, event: Event) -> bool:
    """Send an event to Prefect's server, if there is one. Return whether it has arrived.

    A server that does not respond within `SECONDS` is logged, and raises no error. Prefect's client
    is not used: its import takes as long as a whole promotion.
    """
    api = api_address(layout)
    if api is None:
        return False
    try:
        post(f"{plain_address(api)}/events", [as_sent(layout, event)], SECONDS, _credentials())
    except (OSError, HTTPException, ValueError) as error:
        log.warning("the event %s did not reach Prefect's server (%s)", event.name, type(error).__name__)
        return False
    return True


def resource(project: Path) -> str:
    """Return the id of a project in Prefect's events."""
    return f"tokensieve.project.{project}"


def as_sent(layout: Layout, event: Event) -> dict[str, Any]:
    """Return an event as Prefect's API takes it."""
    root = layout.root.resolve()
    return {
        "id": str(uuid.uuid4()),
        "event": event.name,
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": resource(root), "prefect.resource.name": root.name},
        "payload": asdict(event),
    }


def api_address(layout: Layout) -> str | None:
    """Return the address of Prefect's API: PREFECT_API_URL, or of a running `tokensieve up`."""
    given = os.environ.get("PREFECT_API_URL")
    if given:
        return given
    known = read_json_or_none(layout.addresses)
    found = known.get("prefect_api") if isinstance(known, dict) else None
    return found if isinstance(found, str) else None


def post(url: str, body: Any, seconds: float, headers: Mapping[str, str]) -> None:
    """Send `body` as JSON, within `seconds` in total.

    Raises:
        OSError, HTTPException, InputError: If it does not arrive.
    """
    sent = {"Content-Type": "application/json", "User-Agent": "tokensieve", **headers}
    request = Request(url, json.dumps(body).encode(), sent, method="POST")
    try:
        with open_url(request, time.monotonic() + seconds) as response:
            response.read()
    except InputError:
        # Its message may contain the address.
        raise InputError("the server redirects to another one, or the TLS settings are wrong") from None


def _credentials() -> dict[str, str]:
    """Return the header for a Prefect server that requires a login."""
    if user := os.environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()}
    if key := os.environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    return {}
