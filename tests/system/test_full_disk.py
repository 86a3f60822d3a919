"""A project on a small real file system that fills up at several moments: one line, nothing lost,
the same command goes on.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.system.conftest import SMALL

MEGABYTES = 24
# Kilobytes that are left when a first run begins, and where it then stops.
LEFT = {8: "open", 100: "validate", 400: "finetune", 2000: "register", 2300: "register"}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of some megabytes."""
    folder = tmp_path_factory.mktemp("disk")
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root and a container that may mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def fill(disk: Path) -> Iterator[Callable[[int], None]]:
    """Leave so many kilobytes free; with -1, all that there is."""
    filler = disk / "filler"

    def to(left: int) -> None:
        filler.unlink(missing_ok=True)
        if left >= 0:
            filler.write_bytes(b"x" * (shutil.disk_usage(disk).free - left * 1024))

    yield to
    filler.unlink(missing_ok=True)


@pytest.fixture
def play(tiny_model: Path, data_file: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], str]:
    """Run all stages in this process, as the flow does.

    Returns where it stopped, or an empty string.
    """
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from tasks import stage
    from tasks.projects.project import open_project
    from tasks.versioning.dvc_pipeline import stage_names
    from tokensieve.disk import DiskFullError
    from tokensieve.settings import Settings, tried

    def run(root: Path) -> str:
        at = "open"
        try:
            layout = open_project(root)
            at = "ingest"
            with tried(layout.params, [*SMALL, f"base.model={tiny_model}"]):
                stage.run_ingest(layout, Settings.load(layout.params), str(data_file))
                stage.check_registry(layout, Settings.load(layout.params))
                for at in stage_names(layout):
                    stage.run_if_stale(layout, at)
        except DiskFullError as error:
            message = str(error)
            assert re.match(
                rf"{root}\S*: the disk is full \([\d.,]+ MB are free\); "
                r".* free some space and run the same command again",
                message,
            )
            assert "\n" not in message
            return at
        return ""

    return run


@pytest.mark.timeout(900)
def test_a_disk_that_is_full_at_any_moment_loses_nothing(
    disk: Path, fill: Callable[[int], None], play: Callable[[Path], str]
) -> None:
    stopped = {}
    for left in LEFT:
        project = disk / f"project{left}"
        fill(left)
        stopped[left] = play(project)
        fill(-1)
        assert play(project) == "", f"with {left} KB left it stopped in {stopped[left]} and does not go on"
        assert set(yaml.safe_load((project / "dvc.lock").read_text())["stages"]) >= {
            "validate",
            "finetune",
            "register",
        }
        shutil.rmtree(project)
    assert all(stopped.values()), stopped
    assert len(set(stopped.values())) > 2, stopped


@pytest.mark.timeout(600)
def test_a_command_on_a_full_disk_prints_one_line_and_goes_on_when_there_is_room(
    disk: Path, fill: Callable[[int], None], tokensieve: Callable[..., Any], small: list[str], data_file: Path
) -> None:
    project = disk / "project"
    run = ("run", "--project", str(project), "--data", str(data_file), *small)
    fill(700)
    stopped = tokensieve(*run)
    assert stopped.returncode == 2, stopped.stderr
    told = [line for line in stopped.stderr.splitlines() if line.startswith("tokensieve: ")]
    assert len(told) == 1
    assert "the disk is full" in told[0]
    assert "Traceback" not in stopped.stderr
    fill(0)
    again = tokensieve(
        "data", "add", "--project", str(project), "--data", str(data_file), "--set", "data.seed=1"
    )
    assert again.returncode == 2, again.stderr
    assert "the disk is full" in again.stderr
    fill(-1)
    finished = tokensieve(*run)
    assert finished.returncode == 0, finished.stderr
