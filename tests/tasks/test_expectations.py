"""How Great Expectations is imported. What it checks: test_validate.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_pyspark_is_not_imported_if_it_is_installed(tmp_path: Path) -> None:
    """PySpark warns of pandas 3, and ends a process without a main file: it does so here."""
    (tmp_path / "pyspark").mkdir()
    (tmp_path / "pyspark" / "__init__.py").write_text("raise SystemExit(0)", encoding="utf-8")
    program = (
        "import sys, tasks.expectations; assert 'pyspark' not in sys.modules; print('checks', flush=True); "
        "import pyspark; print('not reached')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("checks\n", "")
