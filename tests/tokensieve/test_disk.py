"""A full disk is told in one line, whoever meets it first."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tokensieve.disk import DiskFullError, disk_full, room


def test_the_file_the_need_and_the_remedy_are_named(tmp_path: Path) -> None:
    path = tmp_path / "artifacts" / "x.bin"
    words = rf"^{path}: the disk is full \([\d,.]+ MB are free\); a run takes up to .* make room"
    with pytest.raises(DiskFullError, match=words), room(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))


@pytest.mark.parametrize(
    "words", ["I/O error: No space left on device (os error 28)", "(sqlite3.OperationalError) database or disk is full"]
)
def test_it_is_found_behind_other_errors(words: str, tmp_path: Path) -> None:
    try:
        try:
            raise RuntimeError(words)
        except RuntimeError as error:
            raise ValueError("cannot write") from error
    except ValueError as error:
        full = disk_full(error, tmp_path)
    assert full is not None
    assert str(full).startswith(f"{tmp_path}: the disk is full")


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), room(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")
