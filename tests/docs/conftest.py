"""What a newcomer has: an empty home, and a part of the sample data that trains in seconds."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

CLASSES = ("customs_hold", "track_shipment", "incoterm_question", "free_time_extension")
TEXTS_PER_CLASS = 25
# They leave out what takes most of the time with few texts: refits for the calibration, and
# variants that are refused.
QUICK = ("evaluate.calibration_folds=0", "export.variants=[fp32]")


@pytest.fixture
def newcomer(tmp_path: Path, prefect_database: Path) -> dict[str, str]:
    """Environment variables of somebody who has set none of MLflow's, Prefect's or ours, with
    Prefect's empty database in the home.
    """
    (tmp_path / ".prefect").mkdir()
    shutil.copy(prefect_database, tmp_path / ".prefect")
    ours = ("MLFLOW_", "PREFECT_", "DVC_", "TOKENSIEVE_", "PYTEST_", "PYTHONPATH", "OPENBLAS_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    path = f"{Path(sys.executable).parent}:{kept['PATH']}"
    return kept | {"PATH": path, "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """Write `data/freight` with four classes of 25 texts into the test's folder, and return its
    path.
    """
    folder = tmp_path / "data" / "freight"
    folder.mkdir(parents=True)
    for part in ("train", "test"):
        with (ROOT / f"data/freight/{part}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        counts: Counter[str] = Counter()
        with (folder / f"{part}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["text", "label"])
            writer.writeheader()
            for row in rows:
                counts[row["label"]] += 1
                if row["label"] in CLASSES and counts[row["label"]] <= TEXTS_PER_CLASS:
                    writer.writerow(row)
    return folder


@pytest.fixture
def quick_project(tmp_path: Path, newcomer: dict[str, str]) -> Path:
    """Make the project folder `intents` with settings for a quick run, and return its path."""
    command = ["tokensieve", "init", "intents", "--set", *QUICK]
    subprocess.run(command, cwd=tmp_path, env=newcomer, check=True, capture_output=True)
    return tmp_path / "intents"
