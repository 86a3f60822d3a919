"""How the last run of a project went, for `tokensieve status`. Scheduled runs have no terminal."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from tokensieve.files import read_json_or_none, write_json
from tokensieve.project import Layout


@dataclass(frozen=True)
class LastRun:
    """How a run went.

    Attributes:
        began: When (UTC, ISO 8601).
        ended: When. Empty: the run is under way, or its process was killed.
        result: What it made, in words. Empty: nothing yet, or it failed.
        reason: Why it failed. Empty: it did not.
        step: In which step it failed. Empty: it did not, or between two steps.
    """

    began: str
    ended: str = ""
    result: str = ""
    reason: str = ""
    step: str = ""


def note_begin(layout: Layout) -> None:
    """Note that a run begins."""
    _write(layout, LastRun(_now()))


def note_result(layout: Layout, result: str) -> None:
    """Note that the run has ended, and what it made."""
    _end(layout, result=result)


def note_failure(layout: Layout, reason: str, step: str) -> None:
    """Note that the run has failed: why, and in which step."""
    _end(layout, reason=reason, step=step)


def last_run(layout: Layout) -> LastRun | None:
    """Return how the last run went. None: there was none, or its note is damaged."""
    try:
        return LastRun(**{name: str(value) for name, value in read_json_or_none(layout.last_run).items()})
    except (AttributeError, TypeError):
        return None


def _end(layout: Layout, **known: str) -> None:
    now = _now()
    began = last_run(layout) or LastRun(now)
    _write(layout, replace(began, **({"result": "", "reason": "", "step": "", "ended": now} | known)))


def _write(layout: Layout, run: LastRun) -> None:
    layout.last_run.parent.mkdir(parents=True, exist_ok=True)
    write_json(layout.last_run, asdict(run))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
