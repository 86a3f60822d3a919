"""What each step of a run took last time, for the estimates of the next one."""

from __future__ import annotations

from pathlib import Path

from tokensieve.files import read_json_or_none, write_json


def last_seconds(path: Path) -> dict[str, float]:
    """Return what each step took last time. Empty if the file is not there, or broken."""
    try:
        return {str(name): float(seconds) for name, seconds in (read_json_or_none(path) or {}).items()}
    except (ValueError, AttributeError, TypeError):
        return {}


def note_seconds(path: Path, name: str, seconds: float) -> None:
    """Keep what step `name` took, for the estimates of the next run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, last_seconds(path) | {name: round(seconds, 1)})
