"""How the last look of the flows watch and monitor went. They run by a schedule: without a note,
nobody sees that they fail.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from tokensieve.files import read_json_or_none, write_json
from tokensieve.project import Layout

FLOWS = ("watch", "monitor")


@dataclass(frozen=True)
class LastLook:
    """How a look went.

    Attributes:
        ended: When (UTC, ISO 8601).
        result: What it found, in words. Empty: it failed.
        reason: Why it failed. Empty: it did not.
    """

    ended: str
    result: str = ""
    reason: str = ""


def note_look(layout: Layout, flow: str, result: str = "", reason: str = "") -> None:
    """Note that a look of a flow has ended: what it found, or why it failed."""
    look = LastLook(datetime.now(UTC).isoformat(timespec="seconds"), result, reason)
    layout.looks.mkdir(parents=True, exist_ok=True)
    write_json(layout.looks / f"{flow}.json", asdict(look))


def last_look(layout: Layout, flow: str) -> LastLook | None:
    """Return how the last look of a flow went. None: there was none, or its note is damaged."""
    try:
        noted = read_json_or_none(layout.looks / f"{flow}.json")
        return LastLook(**{name: str(value) for name, value in noted.items()})
    except (AttributeError, TypeError):
        return None
