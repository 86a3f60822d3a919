"""Atomic writes, JSON files, hashes and a lock between processes.

A file or folder is written under a temporary name next to its own and then renamed. So a write that
fails leaves the earlier content as it was, and a reader never sees half of the new one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tokensieve.errors import InputError
from tokensieve.progress import log_while_running

# The beginnings of the lines that git writes between the two sides of a merge conflict.
CONFLICT_MARKERS = ("<<<<<<< ", "=======", ">>>>>>> ", "||||||| ")

log = logging.getLogger("tokensieve")


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty temporary folder. It replaces `folder` if the block ends without an error.

    Its files get the mode that the umask allows. `folder` has its earlier files or the new ones
    also if the process is killed: the earlier folder is renamed before it is deleted, and
    `complete_replacement` repairs a kill between the two renames.
    """
    temporary = folder.with_name(f".{folder.name}.new")
    complete_replacement(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        mode = temporary.stat().st_mode & 0o666
        for path in temporary.rglob("*"):
            if path.is_file() and not path.is_symlink():
                path.chmod(mode)
        if folder.exists():
            folder.rename(_earlier(folder))
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        complete_replacement(folder)


def complete_replacement(folder: Path) -> None:
    """Complete what a killed process left of `atomic_folder`.

    The earlier folder gets its name back if the new one has not replaced it yet.
    """
    earlier = _earlier(folder)
    if not folder.exists() and earlier.exists():
        earlier.rename(folder)
    shutil.rmtree(earlier, ignore_errors=True)


def _earlier(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


@contextmanager
def atomic_file(path: Path, flush: bool = False) -> Iterator[Path]:
    """Yield the path of a temporary file, which replaces `path` if the block ends without an error.

    Several processes and threads may do so at once: `path` has the whole content of one of them.
    The file gets the mode that the umask allows, even if the block gives it another mode. With
    `flush`, its content is on the disk before it is renamed. Without `flush`, a power failure can
    leave an empty file.
    """
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{_machine()}-{os.getpid()}-{threading.get_native_id()}.new")
    temporary.unlink(missing_ok=True)
    temporary.touch()
    mode = temporary.stat().st_mode & 0o777
    try:
        yield temporary
        temporary.chmod(mode)
        if flush:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of `path` that killed processes of this machine have left."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.{_machine()}-(\d+)-\d+\.new")
    for other in path.parent.iterdir():
        if (found := pattern.fullmatch(other.name)) and not _is_alive(int(found[1])):
            other.unlink(missing_ok=True)


def _machine() -> str:
    """Return the name of this machine or container: process ids of another one are unknown here."""
    return re.sub(r"\W", "_", socket.gethostname())[:64]


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # there, os.kill would end it
        return True
    try:
        os.kill(pid, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True


HOLDER = ".holder"  # suffix of the file that names the process in a locked block


@dataclass(frozen=True)
class Holder:
    """The process that is in a locked block: its id, since when (Unix time), and at which step."""

    pid: int
    since: float
    step: str


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Run the block while no other process runs a block with the same `path`.

    If another process does, log that and wait for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not at the top: an installation for serving has no filelock, and needs no lock.
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        known = holder(path)
        about = f", which began at {time.strftime('%H:%M', time.localtime(known.since))}" if known else ""
        step = f" and is at {known.step}" if known and known.step else ""
        log.info("waiting for another run of this project%s%s (%s)", about, step, path)
        with log_while_running("waiting"):
            lock.acquire()
    note = path.with_suffix(HOLDER)
    try:
        write_json(note, asdict(Holder(os.getpid(), time.time(), "")))
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def note_step(path: Path, step: str) -> None:
    """Note that this process begins `step`, if it is in a block of `locked(path)`."""
    known = _noted(path)
    if known and known.pid == os.getpid():
        write_json(path.with_suffix(HOLDER), asdict(replace(known, step=step)))


def holder(path: Path) -> Holder | None:
    """Return the process that is in a block of `locked(path)`. None: there is none, or none known.

    The note of a killed process does not count: its lock is free.
    """
    from filelock import FileLock, Timeout

    known = _noted(path)
    if known:
        try:
            with FileLock(path, timeout=0):
                return None
        except Timeout:
            return known
    return None


def _noted(path: Path) -> Holder | None:
    known = read_json_or_none(path.with_suffix(HOLDER))
    try:
        return Holder(int(known["pid"]), float(known["since"]), str(known["step"]))
    except (KeyError, TypeError, ValueError):
        return None


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, tree: Any) -> None:
    """Write `tree` as indented JSON in UTF-8, atomically."""
    write_text(path, json.dumps(tree, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is not JSON, for example after a merge with conflicts.
    """
    content = path.read_bytes()
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        check_no_conflict_markers(path, content.decode("utf-8", "replace"))
        raise InputError(f"{path} is damaged ({error}); delete it and run the same command again") from None


def read_json_or_none(path: Path) -> Any:
    """Return the content of a JSON file, or None if it is missing, unreadable or not JSON."""
    try:
        return read_json(path)
    except (OSError, InputError):
        return None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_no_conflict_markers(path: Path, text: str) -> None:
    """Check that a merge left no conflict markers in `text`, the content of `path`.

    Raises:
        InputError: If there are markers. The message has the line and how to resolve the conflict.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(CONFLICT_MARKERS[:1]):
            raise InputError(
                f"{path}, line {number}: unresolved merge conflict; keep one side, with git checkout --ours "
                f"or --theirs {path.name} or by hand, and run the same command again"
            )
