"""An MLflow registry in an SQLite file, read with the standard library: MLflow takes seconds to import, and a server has none."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tokensieve.disk import full_disk_error
from tokensieve.errors import InputError
from tokensieve.registry.store import SQLITE, ModelVersion, check_database, no_answer, text_of, well_formed

DELETED = "Deleted_Internal"  # MLflow keeps the row of a deleted version, with this stage
WORKSPACE = "default"
TIMEOUT = 5.0  # seconds that a reader waits for a writer
WRITING = 30.0  # seconds that a writer waits for the others


@dataclass(frozen=True)
class Database:
    """The tables of MLflow's own SQLite store. Only aliases and tags are ever written."""

    uri: str

    def models(self) -> list[str]:
        return [
            name
            for (name,) in self._rows(
                "SELECT name FROM registered_models WHERE workspace = ? ORDER BY name", WORKSPACE
            )
        ]

    def aliases(self, name: str) -> dict[str, str] | None:
        if not self._rows(
            "SELECT 1 FROM registered_models WHERE workspace = ? AND name = ?", WORKSPACE, name
        ):
            return None
        question = "SELECT alias, version FROM registered_model_aliases WHERE workspace = ? AND name = ?"
        return {alias: str(version) for alias, version in self._rows(question, WORKSPACE, name)}

    def versions(self, name: str) -> list[str]:
        question = (
            "SELECT version FROM model_versions WHERE workspace = ? AND name = ? AND current_stage <> ?"
        )
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

    def is_made(self) -> bool:
        """Whether MLflow has made its tables in the file. It does so on its first use of an empty one."""
        return bool(self._rows("SELECT 1 FROM sqlite_master WHERE name = 'registered_models'"))

    def tags(self, name: str) -> dict[str, str]:
        return self._pairs(
            "SELECT key, value FROM registered_model_tags WHERE workspace = ? AND name = ?", WORKSPACE, name
        )

    def version_tags(self, name: str, number: str) -> dict[str, str]:
        question = (
            "SELECT key, value FROM model_version_tags WHERE workspace = ? AND name = ? AND version = ?"
        )
        return self._pairs(question, WORKSPACE, name, int(number))

    def metrics(self, run: str) -> dict[str, float]:
        found = self._rows("SELECT key, value FROM latest_metrics WHERE run_uuid = ? AND is_nan = 0", run)
        return {key: float(value) for key, value in found}

    def experiment(self, name: str) -> str | None:
        found = self._rows(
            "SELECT lifecycle_stage FROM experiments WHERE workspace = ? AND name = ?", WORKSPACE, name
        )
        return found[0][0] if found else None

    def set_alias(self, name: str, alias: str, number: str) -> None:
        columns = "registered_model_aliases (workspace, name, alias, version)"
        self._write(
            f"INSERT OR REPLACE INTO {columns} VALUES (?, ?, ?, ?)", WORKSPACE, name, alias, int(number)
        )

    def set_tag(self, name: str, key: str, value: str) -> None:
        columns = "registered_model_tags (workspace, name, key, value)"
        self._write(f"INSERT OR REPLACE INTO {columns} VALUES (?, ?, ?, ?)", WORKSPACE, name, key, value)

    def _pairs(self, question: str, *values: str | int) -> dict[str, str]:
        return {key: value or "" for key, value in self._rows(question, *values)}

    def _write(self, statement: str, *values: str | int) -> None:
        file = Path(self.uri.removeprefix(SQLITE))
        path = quote(self.uri.removeprefix(SQLITE))
        try:
            # As many processes may write at once, so a writer is waited for longer than by a reader.
            with (
                closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=WRITING)) as connection,
                connection,
            ):
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute(statement, values)
        except sqlite3.Error as error:
            # Not RegistryError: waiting does not help.
            if full := full_disk_error(error, file):
                raise full from None
            if "readonly database" in str(error):
                raise InputError(
                    f"{file} cannot be written ({error}); make it and its folder writable for this user"
                ) from None
            raise no_answer(self.uri, error) from None

    def _rows(self, question: str, *values: str | int) -> list[tuple[str, ...]]:
        check_database(self.uri)
        path = quote(self.uri.removeprefix(SQLITE))
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=TIMEOUT)) as connection:
                return connection.execute(question, values).fetchall()
        except sqlite3.Error as error:
            raise no_answer(self.uri, error) from None
