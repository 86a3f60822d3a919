"""What a run will do: the stages that are stale, and about how long they take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.durations import last_seconds
from tasks.versioning.dvc_pipeline import stale_stages
from tokensieve.project import Layout

AFTERWARDS = ("gate", "report")  # the steps after the stages


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        to_run: The stages that are stale, in their order. DVC may still restore one from its cache.
        unchanged: The other stages.
        seconds: How long they and the steps after them took last time. None if one of them has
            never run.
    """

    to_run: tuple[str, ...]
    unchanged: tuple[str, ...]
    seconds: float | None

    def __str__(self) -> str:
        if not self.to_run:
            return "every stage is unchanged"
        parts = [f"runs {', '.join(self.to_run)}"]
        if self.unchanged:
            parts.append(f"unchanged {', '.join(self.unchanged)}")
        parts.append("first time, so no estimate" if self.seconds is None else _about(self.seconds))
        return "; ".join(parts)


def make_plan(layout: Layout, names: Sequence[str], force: bool) -> Plan:
    """Return what a run of the stages `names` will do, with `force` all of them."""
    stale = set(names) if force else stale_stages(layout, names)
    to_run = tuple(name for name in names if name in stale)
    unchanged = tuple(name for name in names if name not in stale)
    return Plan(to_run, unchanged, _estimate(to_run, last_seconds(layout.seconds)))


def _estimate(names: Sequence[str], known: Mapping[str, float]) -> float | None:
    if any(name not in known for name in names):
        return None
    return sum(known[name] for name in names) + sum(known.get(name, 0.0) for name in AFTERWARDS)


def _about(seconds: float) -> str:
    if seconds < 100:
        return f"about {seconds:.0f} s, as last time"
    return f"about {seconds / 60:.0f} min, as last time"
