"""Files and folders that are replaced as a whole: written beside, then renamed, so that a failure leaves the earlier ones."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokensieve.errors import InputError
from tokensieve.progress import under_way

MARKS = (
    "<<<<<<< ",
    "=======",
    ">>>>>>> ",
    "||||||| ",
)  # how the lines begin that git puts between two versions

log = logging.getLogger("tokensieve")


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Yields an empty folder beside `folder`, which takes its place when the block ends without an error.

    Its files get the mode that the umask allows.
    """
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        mode = beside.stat().st_mode & 0o666
        for path in beside.rglob("*"):
            if path.is_file() and not path.is_symlink():
                path.chmod(mode)
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Within it, no other process is within it for the same `path`; one that comes later waits, and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    from filelock import FileLock, Timeout  # here: who only reads settings, such as a server, does without

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another run of this project is under way; waiting for it (%s)", path)
        with under_way("waiting"):
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Yields the name of a file beside `path`, which takes its place when the block ends without an error.

    It gets the mode that the umask allows, whatever mode the block gives it.
    """
    beside, usual = path.with_name(f".{path.name}.new"), path.with_name(f".{path.name}.mode")
    try:
        yield beside
        usual.touch()
        shutil.copymode(usual, beside)
        beside.replace(path)
    finally:
        for left in (beside, usual):
            left.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8, beside and then renamed."""
    with written(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, tree: Any) -> None:
    """Write `tree` as JSON, beside and then renamed."""
    write_text(path, json.dumps(tree, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The tree that `write_json` wrote.

    Raises:
        InputError: If the file is not JSON, for example after a merge with conflicts.
    """
    text = path.read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except ValueError as error:
        refuse_conflict(path, text)
        raise InputError(f"{path} is damaged ({error}); delete it and run the same command again") from None


def refuse_conflict(path: Path, text: str) -> None:
    """Refuse a file that a merge left with conflict marks.

    Raises:
        InputError: If there are any; it names the file, the line and the remedy.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(MARKS[:1]):
            raise InputError(
                f"{path} holds the conflict marks of a merge (line {number}); keep one side, with git checkout --ours or --theirs "
                f"{path.name} or by hand, and run the same command again"
            )
