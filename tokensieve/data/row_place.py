"""Name a row of a data file for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokensieve.errors import excerpt


def row_place(row: Mapping[str, Any]) -> str:
    """Return where a row is: its line, or its number in a file without lines, and its id.

    `row` has the keys of `Examples.place_fields`. A line of None and an empty id are unknown.
    """
    place = f"row {row['row']}" if row.get("line") is None else f"line {row['line']}"
    return f"{place}, id {excerpt(row['id'], 40)}" if row.get("id") else place
