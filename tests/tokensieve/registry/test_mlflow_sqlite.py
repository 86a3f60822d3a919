"""A registry in an SQLite file on a disk that cannot be written: the file and the remedy are named."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tokensieve.disk import DiskFullError
from tokensieve.errors import InputError
from tokensieve.registry.mlflow_sqlite import Database
from tokensieve.registry.store import RegistryError


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte with the table of the models' tags."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root and a container that may mount")
    try:
        with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
            connection.execute("CREATE TABLE registered_model_tags (workspace, name, key, value)")
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_no_registry_without_an_answer(disk: Path) -> None:
    database = Database(f"sqlite:///{disk}/mlflow.db")
    with pytest.raises(DiskFullError, match=rf"^{disk}/mlflow\.db: the disk is full") as caught:
        database.set_tag("m", "key", "x" * 2**21)
    assert not isinstance(caught.value, RegistryError)


def test_a_file_that_cannot_be_written_is_named(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(
        InputError,
        match=rf"^{disk}/mlflow\.db cannot be written \(attempt to write a readonly database\); make it",
    ) as caught:
        Database(f"sqlite:///{disk}/mlflow.db").set_tag("m", "key", "x")
    assert not isinstance(caught.value, RegistryError)
