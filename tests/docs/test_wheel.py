"""The wheel and the source distribution: whole, and enough for a run."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

CONSOLE = ROOT / "tokensieve" / "server" / "console"


@pytest.mark.system
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("quick_project")
def test_a_wheel_in_an_empty_environment_trains_on_the_sample_and_predicts(
    newcomer: dict[str, str], sample: Path, tmp_path: Path
) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--directory", str(tmp_path / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"README.md", "LICENSE", "dvc.yaml", "pyproject.toml", "docs/tutorial.md"} <= names

    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        page = {name for name in packed.namelist() if name.startswith("tokensieve/server/console/")}
    assert page == {f"tokensieve/server/console/{path.name}" for path in CONSOLE.iterdir()}
    python = _environment(tmp_path / "env", wheel)
    where = "import tokensieve; print(tokensieve.__file__)"
    assert str(tmp_path) in _output([python, "-c", where], tmp_path, newcomer)
    tokensieve = python.with_name("tokensieve")
    _output([tokensieve, "run", "--project", "intents", "--data", sample], tmp_path, newcomer)
    text = "box is stuck at customs for xray"
    answer = _output([tokensieve, "predict", "--project", "intents", text], tmp_path, newcomer)
    assert answer.split()[0] == "customs_hold"


def _environment(folder: Path, wheel: Path) -> Path:
    """Make an environment with the wheel and the packages of this one, but not this checkout.

    Return its Python.
    """
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    install = ["install", "--quiet", "--no-index", "--no-deps", "--ignore-installed", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    # Files in that folder that name further paths, such as that of this checkout, are not read.
    (packages / "packages.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return python


def _output(command: list[str | Path], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
