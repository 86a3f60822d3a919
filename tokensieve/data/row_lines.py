"""The lines of rows in a text file. They differ from the rows if texts or blanks span lines."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from tokensieve.data.table_formats import TYPED, format_of
from tokensieve.data.text_tables import read_lines, read_records


def row_lines(path: Path, rows: Collection[int], encoding: str | None = None) -> dict[int, int]:
    """Return the line on which each of `rows` starts; line 1 is the first of the file.

    Empty for Parquet and Arrow, which have no lines. The file has been read before without errors,
    in the same `encoding`.
    """
    kind = format_of(path)
    if kind in TYPED or not rows:
        return {}
    wanted, last = set(rows), max(rows)
    found = {}
    for row, line in enumerate(_starts(path, kind, encoding)):
        if row in wanted:
            found[row] = line
        if row >= last:
            break
    return found


def _starts(path: Path, kind: str, encoding: str | None) -> Iterator[int]:
    """Yield the line of the header, 0 if there is none, and then of each row."""
    lines = read_lines(path, encoding)
    if kind == ".jsonl":
        yield 0
        yield from (number for number, line in enumerate(lines, 1) if line.strip())
    else:
        yield from (line for line, _ in read_records(path, lines))
