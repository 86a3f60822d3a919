"""A project with a small file of data, and an empty registry, which is made once because MLflow
takes seconds to make one.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tokensieve.project import Layout
from tokensieve.settings import Settings

Audited = Callable[..., tuple[Layout, Settings]]

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


@pytest.fixture
def audited(tiny_model: Path, tmp_path: Path) -> Audited:
    """Makes a project from rows of (text, label) and runs the stages up to the audit."""

    def make(
        train: Sequence[tuple[str, str]], test: Sequence[tuple[str, str]] = (), **data: str
    ) -> tuple[Layout, Settings]:
        from tasks.audit import audit
        from tasks.split import split
        from tasks.vocabulary import vocabulary

        layout = Layout(tmp_path / "project")
        layout.raw.mkdir(parents=True, exist_ok=True)
        for name, rows in (("train", train), ("test", test)):
            if rows:
                with (layout.raw / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
                    csv.writer(file).writerows([("text", "label"), *rows])
        settings = Settings.of(
            {
                "base": {"model": str(tiny_model), "max_length": 8},
                "data": data,
                "schedule": {"frozen_layers": 0.5},
                "finetune": {"threads": 1},
            }
        )
        split(layout, settings)
        vocabulary(layout, settings)
        audit(layout, settings)
        return layout, settings

    return make
