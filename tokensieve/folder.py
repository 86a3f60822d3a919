"""A stage's output folder, replaced as a whole: written beside, then renamed, so that a failure leaves the earlier one."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

log = logging.getLogger("tokensieve")


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Yields an empty folder beside `folder`, which takes its place when the block ends without an error."""
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Within it, no other process is within it for the same `path`; one that comes later waits, and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another run of this project is under way; waiting for it (%s)", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_json(path: Path, tree: Any) -> None:
    """Write `tree` as JSON, beside and then renamed."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(json.dumps(tree, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(path)


def read_json(path: Path) -> Any:
    """The tree that `write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))
