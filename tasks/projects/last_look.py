"""How the last look of the flows watch and monitor went. They run by a schedule: without a note,
nobody sees that they fail.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
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
        announced: Whether people were notified of this reason, at this look or an earlier one.
    """

    ended: str
    result: str = ""
    reason: str = ""
    announced: bool = False


def note_look(layout: Layout, flow: str, result: str = "", reason: str = "", announced: bool = False) -> None:
    """Note that a look of a flow has ended: what it found, or why it failed.

    If this is not possible, for example because the disk is full, it is logged.
    """
    look = LastLook(datetime.now(UTC).isoformat(timespec="seconds"), result, reason, announced)
    try:
        layout.looks.mkdir(parents=True, exist_ok=True)
        write_json(layout.looks / f"{flow}.json", asdict(look))
    except OSError as error:
        log.warning("warning: the result of %s is not in the status (%s)", flow, error.strerror)


def last_look(layout: Layout, flow: str) -> LastLook | None:
    """Return how the last look of a flow went. None: there was none, or its note is damaged."""
    try:
        look = LastLook(**read_json_or_none(layout.looks / f"{flow}.json"))
    except TypeError:
        return None
    words = (look.ended, look.result, look.reason)
    return look if all(isinstance(word, str) for word in words) else None
