"""Correct the addresses in a moved project's own registry.

MLflow keeps absolute paths of files in mlflow.db.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tokensieve.project import Layout
from tokensieve.registry.project_identity import is_own_registry
from tokensieve.registry.store import SQLITE, no_answer

# The tables and columns in which MLflow keeps addresses of files.
COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)

log = logging.getLogger("tokensieve")


def follow(layout: Layout, uri: str) -> None:
    """Correct the addresses in the project's own registry if its folder was moved or copied.

    A registry outside the project is not changed, nor are experiments whose runs are not in this
    project.

    Raises:
        RegistryError: If the file is damaged, or another process locks it for long.
    """
    path = Path(uri.removeprefix(SQLITE))
    if not is_own_registry(layout, uri) or not path.is_file():
        return
    try:
        with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
            _correct(connection, layout)
    except sqlite3.OperationalError as error:
        # Such a disk still allows reading.
        if "readonly" not in str(error):
            raise no_answer(uri, error, "wait until the other process has ended") from None
    except sqlite3.DatabaseError as error:
        raise no_answer(uri, error) from None


def _correct(connection: sqlite3.Connection, layout: Layout) -> None:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
        return
    places = connection.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall()
    for experiment, before in places:
        if not before or not before.startswith("file:"):
            continue
        folder = _folder(layout, experiment, before)
        now = folder.resolve().as_uri()
        if before != now and _is_here(connection, experiment, folder):
            _change(connection, before, now)
            log.info(
                "the project was moved: its models are in %s now, not in %s",
                folder,
                unquote(urlsplit(before).path),
            )


def _folder(layout: Layout, experiment: int, before: str) -> Path:
    """Return the folder in this project for the runs of an experiment, whose address is `before`.

    An MLflow server, such as that of `tokensieve up`, adds the number of the experiment.
    """
    is_numbered = before.endswith(f"/{layout.runs.name}/{experiment}")
    return layout.runs / str(experiment) if is_numbered else Path(layout.runs)


def _is_here(connection: sqlite3.Connection, experiment: int, folder: Path) -> bool:
    """Return whether an experiment's runs have files in this folder, or it has no runs yet."""
    runs = connection.execute("SELECT run_uuid FROM runs WHERE experiment_id = ?", (experiment,)).fetchall()
    return not runs or any((folder / run).is_dir() for (run,) in runs)


def _change(connection: sqlite3.Connection, before: str, now: str) -> None:
    for table, column in COLUMNS:
        known = {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}
        if column in known:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (now, len(before) + 1, before, len(before) + 1, f"{before}/"),
            )
