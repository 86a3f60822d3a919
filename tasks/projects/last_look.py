"""How the last look of the flows watch and monitor went. They run by a schedule: without a note,
nobody sees that they fail.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from tokensieve.files import read_json_or_none, write_json
from tokensieve.project import Layout

FLOWS = ("watch", "monitor")

log = logging.getLogger("tokensieve")


@dataclass(frozen=True)
class LastLook:
    """How a look went.

    Attributes:
        ended: When (UTC, ISO 8601).
        result: What it found, in words. Empty: it failed.
        reason: Why it failed. Empty: it did not.
        received: Which of "prefect" and "webhook" have received the reason.
    """

    ended: str
    result: str = ""
    reason: str = ""
    received: tuple[str, ...] = ()


def note_look(
    layout: Layout, flow: str, result: str = "", reason: str = "", received: tuple[str, ...] = ()
) -> None:
    """Note that a look of a flow has ended: what it found, or why it failed.

    If this is not possible, for example because the disk is full, it is logged.
    """
    look = LastLook(datetime.now(UTC).isoformat(timespec="seconds"), result, reason, received)
    try:
        layout.looks.mkdir(parents=True, exist_ok=True)
        write_json(layout.looks / f"{flow}.json", asdict(look))
    except OSError as error:
        log.warning(
            "warning: the result of %s could not be saved for tokensieve status (%s)", flow, error.strerror
        )


def last_look(layout: Layout, flow: str) -> LastLook | None:
    """Return how the last look of a flow went. None: there was none, or its note is damaged."""
    try:
        look = LastLook(**read_json_or_none(layout.looks / f"{flow}.json"))
        words = (look.ended, look.result, look.reason, *look.received)
    except TypeError:
        return None
    if not all(isinstance(word, str) for word in words):
        return None
    return replace(look, received=tuple(look.received))  # JSON has lists only
