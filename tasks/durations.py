"""How long each step of a run took last time, for the estimates of the next run."""

from __future__ import annotations

from pathlib import Path

from tokensieve.files import read_json_or_none, write_json


def last_seconds(path: Path) -> dict[str, float]:
    """Return how long each step took last time, in seconds.

    Empty if the file is missing or damaged.
    """
    try:
        return {str(name): float(seconds) for name, seconds in (read_json_or_none(path) or {}).items()}
    except (ValueError, AttributeError, TypeError):
        return {}


def keep_seconds(path: Path, name: str, seconds: float) -> float:
    """Keep how long step `name` took. Return `seconds`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, last_seconds(path) | {name: round(seconds, 1)})
    return seconds
