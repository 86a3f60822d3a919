"""How Great Expectations is imported. What it checks: test_validate.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("first", ["", "import pyspark; "])
def test_pyspark_is_not_imported_if_it_is_installed(tmp_path: Path, first: str) -> None:
    """It warns of pandas 3, and ends a process without a main file. MLflow may import it first."""
    (tmp_path / "pyspark" / "sql").mkdir(parents=True)
    (tmp_path / "pyspark" / "__init__.py").touch()
    (tmp_path / "pyspark" / "sql" / "__init__.py").write_text("raise SystemExit(3)", encoding="utf-8")
    program = (
        f"import sys; {first}import tasks.expectations; print('pyspark' in sys.modules, flush=True); "
        "import pyspark.sql"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))},
        capture_output=True,
        text=True,
        check=False,
    )
    # Afterwards it is as it was before.
    assert (done.returncode, done.stdout, done.stderr) == (3, f"{bool(first)}\n", "")
