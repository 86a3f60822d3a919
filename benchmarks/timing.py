"""Measure wall and CPU seconds by phase, and describe the machine."""

from __future__ import annotations

import platform
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch


class Clock:
    """A clock that sums seconds by phase.

    A phase may be entered several times. CPU seconds are those of all threads of the process.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.phases: dict[str, dict[str, float]] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        wall, cpu = self._now()
        try:
            yield
        finally:
            wall_after, cpu_after = self._now()
            spent = self.phases.setdefault(name, {"wall": 0.0, "cpu": 0.0})
            spent["wall"] += wall_after - wall
            spent["cpu"] += cpu_after - cpu

    def rounded(self) -> dict[str, dict[str, float]]:
        return {
            name: {kind: round(seconds, 3) for kind, seconds in spent.items()}
            for name, spent in self.phases.items()
        }

    def _now(self) -> tuple[float, float]:
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()


def peak_mib() -> dict[str, float]:
    """Return the peak memory of this process in MiB: resident, and on the GPU if there is one."""
    peak = {"resident": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)}
    if torch.cuda.is_available():
        peak["gpu"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return peak


def machine(device: str) -> dict[str, Any]:
    """Return the processor, threads and versions. Costs are compared only if they are the same."""
    return {
        "cpu": _cpu(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def commit() -> str | None:
    """Return the commit of this code, with `+` if files differ from it; None if not in a
    repository.
    """
    try:
        head, changed = (
            _git("rev-parse", "--short=12", "HEAD"),
            _git("status", "--porcelain", "--untracked-files=no"),
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}+" if changed else head


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    ).stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
