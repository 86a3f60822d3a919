from __future__ import annotations

import os
from pathlib import Path

import pytest

from tokensieve.cpus import cores, quota


def machine(root: Path, membership: str, **files: str) -> Path:
    """A root with /proc/self/cgroup and files under /sys/fs/cgroup, by path with __ for /."""
    for path, text in {
        "proc/self/cgroup": membership,
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }.items():
        place = root / path.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="ascii")
    return root


V2 = "cpu.max"
QUOTA, PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {V2: "150000 100000\n"}, 1.5),
        ("0::/\n", {V2: "max 100000\n"}, None),
        # Not in a container: the group of a service, below a slice with a smaller quota.
        (
            "0::/a.slice/b.service\n",
            {f"a.slice__b.service__{V2}": "400000 100000\n", f"a.slice__{V2}": "200000 100000\n"},
            2.0,
        ),
        # In a container, its own group is the root, whatever the path is.
        ("4:cpu,cpuacct:/docker/abc\n", {f"cpu__{QUOTA}": "300000\n", f"cpu__{PERIOD}": "100000\n"}, 3.0),
        ("4:cpuacct,cpu:/\n", {f"cpu,cpuacct__{QUOTA}": "-1\n", f"cpu,cpuacct__{PERIOD}": "100000\n"}, None),
        ("4:cpu:/x\n", {f"cpu__x__{QUOTA}": "50000\n", f"cpu__x__{PERIOD}": "100000\n"}, 0.5),
        # Another controller's group has no say.
        ("5:memory:/x\n", {f"cpu__x__{QUOTA}": "50000\n", f"cpu__x__{PERIOD}": "100000\n"}, None),
        ("", {V2: "100000 100000\n"}, None),
        ("0::/\n", {V2: "odd\n"}, None),
    ],
)
def test_the_quota_of_a_container_or_service(
    tmp_path: Path, membership: str, files: dict[str, str], expected: float | None
) -> None:
    assert quota(machine(tmp_path, membership, **files)) == expected


def test_cores_are_pinned_and_within_the_quota_rounded_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert cores(tmp_path) == 8
    assert cores(machine(tmp_path, "0::/\n", **{V2: "350000 100000\n"})) == 3
    assert cores(machine(tmp_path, "0::/\n", **{V2: "50000 100000\n"})) == 1
    assert cores(machine(tmp_path, "0::/\n", **{V2: "1600000 100000\n"})) == 8


def test_a_system_that_pins_no_process_has_all_its_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    assert cores(tmp_path) == 10


def test_training_sizes_its_threads_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from tokensieve.training import loop

    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    monkeypatch.setattr(loop, "cores", lambda: cores(machine(tmp_path, "0::/\n", **{V2: "300000 100000\n"})))
    loop.set_threads(0)
    assert torch.get_num_threads() == 3
