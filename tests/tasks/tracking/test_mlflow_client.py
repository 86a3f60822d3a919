from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from mlflow import MlflowException

from tasks.tracking.mlflow_client import connect


def test_an_error_of_the_database_is_raised_and_not_printed_too(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    client = connect(f"sqlite:///{tmp_path / 'mlflow.db'}")
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("DROP TABLE runs")
        database.commit()
    capfd.readouterr()
    with pytest.raises(MlflowException, match="no such table"):
        client.create_run("0")
    assert capfd.readouterr().err == ""
