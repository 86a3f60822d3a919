"""A project that was moved or copied: MLflow keeps absolute paths of its files in the project's own mlflow.db."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tokensieve.project import Layout
from tokensieve.registry.store import SQLITE

# Where MLflow keeps addresses of files.
COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)

log = logging.getLogger("tokensieve")


def follow(layout: Layout, uri: str) -> None:
    """Point the project's own registry to the files beside it, if it names a folder that the project has left.

    A registry outside the project, and files of others in it, stay as they are: only addresses below an experiment's folder whose
    runs lie in this project are changed.
    """
    path = Path(uri.removeprefix(SQLITE))
    if not uri.startswith(SQLITE) or layout.root.resolve() not in path.parents or not path.is_file():
        return
    now = layout.runs.resolve().as_uri()
    with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return
        for experiment, before in connection.execute(
            "SELECT experiment_id, artifact_location FROM experiments"
        ).fetchall():
            if (
                before
                and before != now
                and before.startswith("file:")
                and _is_here(connection, experiment, layout)
            ):
                _change(connection, before, now)
                log.info(
                    "the project was moved: its models are looked for in %s, not in %s",
                    layout.runs,
                    unquote(urlsplit(before).path),
                )


def _is_here(connection: sqlite3.Connection, experiment: int, layout: Layout) -> bool:
    """Whether files of its runs are in this project, or it has no runs yet."""
    runs = connection.execute("SELECT run_uuid FROM runs WHERE experiment_id = ?", (experiment,)).fetchall()
    return not runs or any((layout.runs / run).is_dir() for (run,) in runs)


def _change(connection: sqlite3.Connection, before: str, now: str) -> None:
    for table, column in COLUMNS:
        known = {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}
        if column in known:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (now, len(before) + 1, before, len(before) + 1, f"{before}/"),
            )
