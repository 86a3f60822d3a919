"""A project with a small file of data, and an empty registry, which is made once because MLflow
takes seconds to make one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tokensieve.project import Layout

CSV = "text,label\none,a\ntwo,a\nthree,b\nfour,b\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file of four texts of two classes."""
    path = tmp_path / "source.csv"
    path.write_text(CSV)
    return path


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A new project."""
    from tasks.projects.project import open_project

    return open_project(tmp_path / "project")


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database without runs or models. Copy it, do not change it."""
    from tasks.tracking.mlflow_client import connect

    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path
