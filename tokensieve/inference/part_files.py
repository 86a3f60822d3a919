"""The folder of finished parts next to an output. From it, a run that was killed continues.

A key file has everything that the parts depend on. If it has changed, the parts are deleted.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tokensieve.data.table_formats import format_of
from tokensieve.errors import InputError
from tokensieve.files import atomic_file, read_json_or_none

KEY, LOCK = "key.json", "lock"
PART = rf"{re.escape(KEY)}|\d{{8,}}\.\w+|counts-\d{{8,}}\.json"
# The names of the files in the folder, and of files that are being written there.
NAMES = rf"{LOCK}|{PART}|\.({PART})(\.[\w-]+)?\.new"

log = logging.getLogger("tokensieve")


@contextmanager
def part_folder(output: Path, key: dict[str, Any]) -> Iterator[Path]:
    """Yield the folder with the parts of `output`. No other process uses it during the block.

    It is deleted if the block ends without an error.

    Raises:
        InputError: If the folder has other files, or another run is writing `output`.
    """
    folder = output.with_name(f"{output.name}.parts")
    folder.mkdir(exist_ok=True)
    # Only files that a run has written are deleted, whatever the name of the folder is.
    if folder.is_symlink() or any(
        not re.fullmatch(NAMES, file.name) or not file.is_file() for file in folder.iterdir()
    ):
        raise InputError(
            f"{folder} is needed for the parts of {output.name}, and holds other files; move it, or give "
            "another output"
        )
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another run is writing {output}; wait for it, or give another output") from None
    try:
        if read_json_or_none(folder / KEY) != key:
            _delete_parts(folder)
            write_part_file(folder / KEY, (json.dumps(key) + "\n").encode())
        elif found := sum(1 for _ in folder.glob(f"[0-9]*{format_of(output)}")):
            log.info("%s: going on after %d parts that are there", output, found)
        yield folder
        _delete_parts(folder)
        for name in (KEY, LOCK):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
    finally:
        lock.release()


def part_path(folder: Path, place: int, suffix: str) -> Path:
    """Return the path of the part with the number `place`, from 0."""
    return folder / f"{place:08}{suffix}"


def counts_path(part: Path) -> Path:
    """Return the path of the file with the counts of a part. It is written before the part."""
    return part.with_name(f"counts-{part.stem}.json")


def write_part_file(path: Path, content: bytes) -> None:
    """Write a file of the folder atomically. Its content is on the disk before it gets its name."""
    with atomic_file(path, flush=True) as temporary:
        temporary.write_bytes(content)


def _delete_parts(folder: Path) -> None:
    """Delete the parts but not the key, so that a folder with parts always has a key."""
    for path in folder.iterdir():
        if path.name not in (KEY, LOCK):
            path.unlink()
