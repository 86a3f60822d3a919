"""Count the cores this process may use: its CPU affinity, up to the CPU quota of its container."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

ROOT = Path("/")
# The folders in which version 1 of control groups may be mounted.
MOUNTS = ("cpu", "cpu,cpuacct", "cpuacct,cpu")


def cores(root: Path = ROOT) -> int:
    """Return the number of cores that this process may use, at least one.

    /proc and /sys are read below `root`.
    """
    # macOS and Windows do not pin processes to cores.
    pinned = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = quota(root)
    # Rounded down: with one thread too many, the system stops it for the rest of each period, and
    # the other threads wait for it.
    return pinned if allowed is None else max(1, min(pinned, int(allowed)))


def quota(root: Path = ROOT) -> float | None:
    """Return the smallest CPU quota, in cores, of this process's control groups; None if none."""
    groups = root / "sys" / "fs" / "cgroup"
    found: list[float | None] = []
    for line in _text(root / "proc" / "self" / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            found += [_share(folder) for folder in _upwards(groups, path)]
        elif "cpu" in controllers.split(","):
            found += [_share(folder) for mount in MOUNTS for folder in _upwards(groups / mount, path)]
    return min((share for share in found if share is not None), default=None)


def _upwards(mount: Path, path: str) -> list[Path]:
    """Return the folders of a control group and of those above it.

    Inside a container the mount may already be the group itself.
    """
    inside = PurePosixPath(path.lstrip("/"))
    return [mount, *(mount / place for place in (inside, *inside.parents))]


def _share(folder: Path) -> float | None:
    """Return the quota, in cores, in the folder of one control group of version 1 or 2."""
    given = _text(folder / "cpu.max").split() or [
        _text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")
    ]
    try:
        allowed, period = map(int, given)
    except ValueError:  # "max", or no such file
        return None
    return allowed / period if allowed > 0 and period > 0 else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
