"""Read and write the results of the benchmark: JSON Lines, one object per cell.

There is one file per size and device. Each finished cell is appended at once, so a run can be
stopped at any time. If a cell has several lines, the last one counts.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from tokensieve.errors import InputError


def append(path: Path, record: dict[str, Any]) -> None:
    """Append a record, which has the name of its cell under the key `cell`.

    Several processes may append to the same file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _remove_partial_line(file)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the records of a file by cell; none if the file does not exist.

    A partial last line is ignored.

    Raises:
        InputError: If another line is not a record.
    """
    records = {}
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            records[record["cell"]] = record
        except (ValueError, TypeError, KeyError):
            raise InputError(f"{path}, line {number}, is not a result; remove the line") from None
    return records


def read_all(folder: Path) -> list[dict[str, Any]]:
    """Return the records of all files in a folder, in the order of their cells."""
    records = [record for path in sorted(folder.glob("*.jsonl")) for record in read(path).values()]
    return sorted(records, key=lambda record: f"{record['cell']}.json".split("/"))


def _remove_partial_line(file: BinaryIO) -> None:
    """Remove a partial line at the end, from a process that was killed while it was writing."""
    end = file.seek(0, os.SEEK_END)
    start = end
    while start:
        start = max(0, start - 65_536)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            file.truncate(start + found + 1)
            return
    file.truncate(0)
