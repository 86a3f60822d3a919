"""The lines of rows in a text file. They differ from the rows if texts or blanks span lines."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from pathlib import Path

from tokensieve.data.table_formats import TYPED, format_of
from tokensieve.data.text_tables import read_lines


def row_lines(path: Path, rows: Collection[int]) -> dict[int, int]:
    """Return the line on which each of `rows` starts; line 1 is the first of the file.

    Empty for Parquet and Arrow, which have no lines. The file has been read before without errors.
    """
    kind = format_of(path)
    if kind in TYPED or not rows:
        return {}
    starts = _object_starts(path) if kind == ".jsonl" else _record_starts(path, kind)
    wanted, last = set(rows), max(rows)
    found = {}
    for row, line in starts:
        if row in wanted:
            found[row] = line
        if row >= last:
            break
    return found


def _object_starts(path: Path) -> Iterator[tuple[int, int]]:
    filled = (number for number, line in enumerate(read_lines(path), 1) if line.strip())
    return enumerate(filled, 1)


def _record_starts(path: Path, kind: str) -> Iterator[tuple[int, int]]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(read_lines(path), delimiter="\t" if kind == ".tsv" else ",", strict=True)
    row, start = 0, 1
    for record in reader:
        if record:
            yield row, start  # row 0 is the header
            row += 1
        start = reader.line_num + 1
