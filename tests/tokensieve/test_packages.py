"""A user's own tasks.py and flows/ do not take the place of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tokensieve import packages


@pytest.fixture
def shadows(tmp_path: Path) -> Path:
    (tmp_path / "flows").mkdir()
    for name in ("tasks.py", "flows/__init__.py"):
        (tmp_path / name).write_text("raise SystemExit('a module of the user was imported')\n")
    return tmp_path


def test_the_command_line_is_ours(shadows: Path) -> None:
    program = Path(sys.executable).parent / "tokensieve"
    done = subprocess.run(
        [program, "--version"],
        cwd=shadows,
        env=os.environ | {"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tokensieve ")


def test_the_processes_that_we_start_are_ours(shadows: Path) -> None:
    program = (
        "import sys; from tokensieve import packages; packages.pin(); import tasks, flows; "
        "print(tasks.__file__, flows.__file__)"
    )
    for command in ([sys.executable, "-c", program], packages.command("tasks.finetune", "no project")):
        done = subprocess.run(
            command,
            cwd=shadows,
            env=os.environ | {"PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "a module of the user" not in done.stderr
    # It has come as far as training processes come that nobody has started together.
    assert "LOCAL_RANK" in done.stderr or "RANK" in done.stderr


def test_pinning_twice_keeps_what_is_loaded() -> None:
    packages.pin()
    loaded = sys.modules["tasks"]
    packages.pin()
    assert sys.modules["tasks"] is loaded
