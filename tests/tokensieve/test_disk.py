"""A full disk is reported in one line, whichever library notices it first."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokensieve.disk import DiskFullError, check_writable, full_disk_error, permission_error, report_full_disk
from tokensieve.errors import InputError


def test_the_file_the_need_and_the_remedy_are_named(tmp_path: Path) -> None:
    path = tmp_path / "artifacts" / "x.bin"
    words = rf"^{path}: the disk is full \([\d,.]+ MB are free\); a run needs up to .* free some space"
    with pytest.raises(DiskFullError, match=words), report_full_disk(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))


@pytest.mark.parametrize(
    "words",
    [
        "I/O error: No space left on device (os error 28)",
        "(sqlite3.OperationalError) database or disk is full",
    ],
)
def test_it_is_found_behind_other_errors(words: str, tmp_path: Path) -> None:
    try:
        try:
            raise RuntimeError(words)
        except RuntimeError as error:
            raise ValueError("cannot write") from error
    except ValueError as error:
        full = full_disk_error(error, tmp_path)
    assert full is not None
    assert str(full).startswith(f"{tmp_path}: the disk is full")


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), report_full_disk(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_file_that_may_not_be_written_is_named_with_the_folder(number: int, tmp_path: Path) -> None:
    inside = permission_error(
        OSError(number, os.strerror(number), str(tmp_path / ".tokensieve" / "lock")), tmp_path
    )
    assert (
        f"{tmp_path}/.tokensieve/lock cannot be opened or created ({os.strerror(number).lower()}); "
        f"make {tmp_path} writable" in str(inside)
    )
    outside = permission_error(OSError(number, os.strerror(number), "/elsewhere/home/file"), tmp_path)
    assert "make /elsewhere/home writable" in str(outside)
    assert permission_error(FileNotFoundError(errno.ENOENT, "No such file", "x"), tmp_path) is None
    assert permission_error(PermissionError(errno.EACCES, "Permission denied"), tmp_path) is None


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder with a folder `inside`, mounted so that nobody can write it."""
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    folder = tmp_path / "mount"
    folder.mkdir()
    bind = ["mount", "--bind", str(tmp_path / "folder"), str(folder)]
    if os.geteuid() or subprocess.run(bind, capture_output=True, check=False).returncode:
        pytest.skip("mounting a folder needs root and a container that may mount")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_read_only_folder_is_refused(read_only: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=rf"^{read_only} is not writable \(read-only file system\); make {read_only} writable",
    ):
        check_writable(read_only, read_only / "inside")
    check_writable(tmp_path / "folder", read_only / "absent")
    with pytest.raises(
        InputError,
        match=rf"^{read_only}/inside cannot be opened or created .*; make {tmp_path / 'folder'} writable",
    ):
        check_writable(tmp_path / "folder", read_only / "inside")
