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
NOT_PERMITTED = (errno.EACCES, errno.EPERM, errno.EROFS)
# Messages of libraries that do not raise OSError: safetensors, onnx, and SQLite under MLflow.
FULL_MESSAGES = ("No space left on device", "Disk quota exceeded", "database or disk is full")
REMEDY = (
    "a run needs up to 6 times the size of the base model (0.5 GB with all-MiniLM-L6-v2) and keeps up to "
    "half of that; free some space and run the same command again, it continues where it stopped"
)

REMEDIES = {
    errno.EACCES: "make it writable for the user of this process",
    errno.EPERM: "make it writable for the user of this process",
    errno.EROFS: "make it writable, or work in another folder",
    errno.ENOSPC: "free some space on its disk",
    errno.EDQUOT: "free some space on its disk",
    errno.EFBIG: "free some space on its disk",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENFILE: "allow more open files on this machine",
}


class DiskFullError(InputError):
    """A write failed because a disk or a quota is full."""


@contextmanager
def report_full_disk(folder: Path) -> Iterator[None]:
    """Run the block, and raise a clear error instead of a library's error about a full disk.

    Raises:
        DiskFullError: If a disk or a quota is full. The message names the file, or else `folder`,
            and the remedy.
    """
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        full = full_disk_error(error, folder)
        if full is None:
            raise
        raise full from error


def full_disk_error(error: BaseException, folder: Path) -> DiskFullError | None:
    """Return the error to raise if `error` comes from a full disk, else None.

    The message names the file in `error`, or `folder` if there is none.
    """
    found = next((link for link in causes(error) if _is_full(link)), None)
    if found is None:
        return None
    name = getattr(found, "filename2", None) or getattr(found, "filename", None)
    path = Path(str(name)).absolute() if name else folder.absolute()
    return DiskFullError(f"{path}: the disk is full ({_free(path)}); {REMEDY}")


def permission_error(error: BaseException, folder: Path) -> InputError | None:
    """Return the error to raise if this user may not open or create the file in `error`.

    If the file is in `folder`, the message names `folder` or its nearest parent that exists.
    Otherwise it names the folder of the file. If `error` has another cause, return None.
    """
    for link in causes(error):
        name = getattr(link, "filename2", None) or getattr(link, "filename", None)
        if isinstance(link, OSError) and link.errno in NOT_PERMITTED and isinstance(name, str | os.PathLike):
            path, folder = Path(name).absolute(), nearest_existing(folder.resolve())
            return _not_writable(path, link.errno, folder if path.is_relative_to(folder) else path.parent)
    return None


def os_error_remedy(error: OSError) -> str:
    """Return what a user can do about an error of the operating system at a file."""
    return REMEDIES.get(error.errno or 0, "make it writable, or use another folder")


def check_writable(folder: Path, *inside: Path) -> None:
    """Check that this user may write files in `folder` and in the folders `inside` that exist.

    Raises:
        InputError: If one of them is not writable.
    """
    for path in (folder, *inside):
        if path.exists() and not os.access(path, os.W_OK | os.X_OK):
            raise _not_writable(
                path, errno.EROFS if os.statvfs(path).f_flag & os.ST_RDONLY else errno.EACCES, folder
            )


def _not_writable(path: Path, number: int, folder: Path) -> InputError:
    reason = os.strerror(number).lower()
    problem = f"{folder} is not writable" if path == folder else f"{path} cannot be opened or created"
    return InputError(
        f"{problem} ({reason}); make {folder} writable for this user, or work in a copy of it elsewhere"
    )


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    return any(words in str(error) for words in FULL_MESSAGES)


def _free(path: Path) -> str:
    return f"{shutil.disk_usage(nearest_existing(path)).free / 1e6:,.1f} MB are free"


def nearest_existing(path: Path) -> Path:
    """Return the absolute path `path` if it exists, otherwise its nearest parent that exists."""
    return next((found for found in (path, *path.parents) if found.exists()), Path("/"))
