"""faults.csv: the rows that do not meet a check, at most 100,000 per check, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tasks.expectations import Finding, Table
from tokensieve.data.delimited import safe_cell
from tokensieve.data.row_lines import row_lines
from tokensieve.files import write_text
from tokensieve.settings import Settings

NAME = "faults.csv"
COLUMNS = ("check", "severity", "file", "row", "line", "id", "label", "text")
MAX_CHARACTERS = 1000  # of a text


def table_lines(table: Table, findings: Sequence[Finding], settings: Settings) -> dict[int, int]:
    """Return the line of each row at fault by its row number. Empty for Parquet and Arrow."""
    rows = {table.examples.rows[place] for finding in findings for place in finding.places if not finding.met}
    return row_lines(table.path, rows, settings.data.codec) if table.path and rows else {}


def place_fields(table: Table, place: int, lines: dict[int, int]) -> dict[str, Any]:
    """Return row, and line and id if they are known, of the row at index `place` of a table."""
    row, ids = table.examples.rows[place], table.examples.ids
    found: dict[str, Any] = {"row": row}
    found |= {"line": lines[row]} if row in lines else {}
    return found | ({"id": ids[place]} if ids else {})


def write_faulty_rows(
    path: Path, tables: Sequence[tuple[Table, Sequence[Finding]]], settings: Settings
) -> None:
    """Write the rows that do not meet a check. If there are none, write nothing."""
    rows = [row for table, findings in tables for row in _rows(table, findings, settings)]
    if not rows:
        return
    output = io.StringIO()
    writer = csv.DictWriter(output, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: safe_cell(str(value)) for name, value in row.items()})
    write_text(path, f"\ufeff{output.getvalue()}")


def _rows(table: Table, findings: Sequence[Finding], settings: Settings) -> Iterator[dict[str, Any]]:
    lines = table_lines(table, findings, settings)
    for finding in findings:
        for place in () if finding.met else finding.places:
            text = table.examples.texts[place][:MAX_CHARACTERS]
            yield {
                "check": finding.check,
                "severity": "error" if finding.stops else "warning",
                "file": table.file,
                **place_fields(table, place, lines),
                "label": ", ".join(table.examples.labels[place]).encode("utf-8", "replace").decode(),
                "text": text.encode("utf-8", "replace").decode(),
            }
