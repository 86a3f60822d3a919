"""An MLflow registry in an SQLite file, read with the standard library: MLflow takes seconds to import, and a server has none."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import quote

from tasks.store import SQLITE, ModelVersion, check_database, no_answer, text_of, well_formed

DELETED = "Deleted_Internal"  # MLflow keeps the row of a deleted version, with this stage
WORKSPACE = "default"
TIMEOUT = 5.0  # seconds that a writer is waited for


@dataclass(frozen=True)
class Database:
    """The tables of MLflow's own SQLite store; nothing is ever written."""

    uri: str

    def models(self) -> list[str]:
        return [name for (name,) in self._rows("SELECT name FROM registered_models WHERE workspace = ? ORDER BY name", WORKSPACE)]

    def aliases(self, name: str) -> dict[str, str] | None:
        if not self._rows("SELECT 1 FROM registered_models WHERE workspace = ? AND name = ?", WORKSPACE, name):
            return None
        question = "SELECT alias, version FROM registered_model_aliases WHERE workspace = ? AND name = ?"
        return {alias: str(version) for alias, version in self._rows(question, WORKSPACE, name)}

    def versions(self, name: str) -> list[str]:
        question = "SELECT version FROM model_versions WHERE workspace = ? AND name = ? AND current_stage <> ?"
        return [str(version) for (version,) in self._rows(question, WORKSPACE, name, DELETED)]

    def version(self, name: str, number: str) -> ModelVersion | None:
        question = (
            "SELECT run_id, coalesce(nullif(storage_location, ''), source), creation_time FROM model_versions "
            "WHERE workspace = ? AND name = ? AND version = ? AND current_stage <> ?"
        )
        for run_id, location, created in self._rows(question, WORKSPACE, name, int(number), DELETED):
            with well_formed(self.uri, "version"):
                return ModelVersion(text_of(run_id or ""), text_of(location), int(created))
        return None

    def _rows(self, question: str, *values: str | int) -> list[tuple[str, ...]]:
        check_database(self.uri)
        path = quote(self.uri.removeprefix(SQLITE))
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=TIMEOUT)) as connection:
                return connection.execute(question, values).fetchall()
        except sqlite3.Error as error:
            raise no_answer(self.uri, error) from None
