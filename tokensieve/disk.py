"""Recognize a full or read-only disk in the errors of any library, and report it in one line."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokensieve.errors import InputError, causes

FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
# Messages of libraries that raise no OSError: safetensors, onnx and MLflow's SQLite.
WORDS = ("No space left on device", "Disk quota exceeded", "database or disk is full")
NEED = (
    "a run takes up to 6 times the size of the base model (0.5 GB with all-MiniLM-L6-v2), of which up to half stays; "
    "make room and run the same command again, it goes on where it stopped"
)


class DiskFullError(InputError):
    """A disk has no room left for what is to be written."""


@contextmanager
def room(folder: Path) -> Iterator[None]:
    """Report a full disk that the block meets.

    Raises:
        DiskFullError: If a write fails because a disk or a quota is full; it names the file or `folder`, the need and the remedy.
    """
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        full = disk_full(error, folder)
        if full is None:
            raise
        raise full from error


def disk_full(error: BaseException, folder: Path) -> DiskFullError | None:
    """Return the error to raise if `error` comes from a full disk, else None. `folder` is named if no file is."""
    found = next((link for link in causes(error) if _is_full(link)), None)
    if found is None:
        return None
    name = getattr(found, "filename2", None) or getattr(found, "filename", None)
    path = Path(str(name)).absolute() if name else folder.absolute()
    return DiskFullError(f"{path}: the disk is full ({_free(path)}); {NEED}")


def unwritable(error: BaseException, folder: Path) -> InputError | None:
    """Return the error to raise if `error` comes from a file that this user may not open or make, else None.

    `folder`, or the nearest one above it that exists, is named if the file is in it, otherwise the file's own folder.
    """
    for link in causes(error):
        name = getattr(link, "filename2", None) or getattr(link, "filename", None)
        if isinstance(link, OSError) and link.errno in REFUSED and isinstance(name, str | os.PathLike):
            path, folder = Path(name).absolute(), existing(folder.resolve())
            return _refused(path, link.errno, folder if path.is_relative_to(folder) else path.parent)
    return None


def check_writable(folder: Path, *inside: Path) -> None:
    """Refuse a folder in which, or in one of the folders `inside` it, this user may write no file. Those that do not exist are passed.

    Raises:
        InputError: If it cannot be written.
    """
    for path in (folder, *inside):
        if path.exists() and not os.access(path, os.W_OK | os.X_OK):
            raise _refused(
                path, errno.EROFS if os.statvfs(path).f_flag & os.ST_RDONLY else errno.EACCES, folder
            )


def _refused(path: Path, number: int, folder: Path) -> InputError:
    reason = os.strerror(number).lower()
    where = f"{folder} cannot be written" if path == folder else f"{path} cannot be opened or made"
    return InputError(
        f"{where} ({reason}); make {folder} writable for this user, or work in a copy of it elsewhere"
    )


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    return any(words in str(error) for words in WORDS)


def _free(path: Path) -> str:
    return f"{shutil.disk_usage(existing(path)).free / 1e6:,.1f} MB are free"


def existing(path: Path) -> Path:
    """Return an absolute path itself, or the nearest folder above it that exists."""
    return next((found for found in (path, *path.parents) if found.exists()), Path("/"))
