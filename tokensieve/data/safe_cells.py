"""Cells that no spreadsheet takes for formulas: in all CSV and TSV files that tokensieve writes.

A cell that begins as a formula gets an apostrophe before it. It is taken off when tokensieve reads
such a file, which it knows by its columns. Tables of predictions that an earlier version wrote have
none: a text such as '@bob loses its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection

FORMULA = ("=", "+", "-", "@", "\t", "\r")
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def safe_cell(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: one gets an apostrophe before it."""
    visible = cell.replace("\0", "")
    return f"'{visible}" if _is_formula(visible) else visible


def safe_value(cell: str) -> str:
    """Return a cell as `safe_cell` does, but leave numbers and NUL characters as they are.

    A number such as -5 is no harm, and programs that read a table of predictions need it.
    """
    return f"'{cell}" if _is_formula(cell.replace("\0", "")) and not NUMBER.fullmatch(cell) else cell


def plain_cell(cell: str) -> str:
    """Return the cell that `safe_cell` or `safe_value` was given."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell.replace("\0", "")) else cell


def has_safe_cells(header: Collection[str]) -> bool:
    """Return whether a header is that of a table of predictions, which has safe cells.

    The columns are those that `predict` or the console adds, or those of predictions.csv.
    """
    prefixes = (name.removesuffix("uncertain") for name in header if name.endswith("uncertain"))
    return {"predicted", "second", "uncertain"} <= set(header) or any(
        f"{prefix}truncated" in header for prefix in prefixes
    )


def _is_formula(cell: str) -> bool:
    return cell.lstrip("'").startswith(FORMULA)
