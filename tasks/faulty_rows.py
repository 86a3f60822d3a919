"""faults.csv: the rows that do not meet a check, at most 100,000 per check, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tasks.expectations import Finding, Table
from tokensieve.data.safe_cells import safe_cell
from tokensieve.files import write_text

NAME = "faults.csv"
COLUMNS = ("check", "severity", "file", "row", "line", "id", "label", "text")
MAX_CHARACTERS = 1000  # of a text


def write_faulty_rows(path: Path, tables: Iterable[tuple[Table, Sequence[Finding]]]) -> None:
    """Write the rows that do not meet a check. If there are none, write nothing."""
    rows = [row for table, findings in tables for row in _rows(table, findings)]
    if not rows:
        return
    output = io.StringIO()
    writer = csv.DictWriter(output, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: safe_cell(str(value)) for name, value in row.items()})
    write_text(path, f"\ufeff{output.getvalue()}")


def _rows(table: Table, findings: Sequence[Finding]) -> Iterator[dict[str, Any]]:
    for finding in findings:
        for place in () if finding.met else finding.places:
            text = table.examples.texts[place][:MAX_CHARACTERS]
            yield {
                "check": finding.check,
                "severity": "error" if finding.stops else "warning",
                "file": table.file,
                **table.examples.place_fields(place),
                "label": ", ".join(table.examples.labels[place]).encode("utf-8", "replace").decode(),
                "text": text.encode("utf-8", "replace").decode(),
            }
