"""Write rows as CSV or TSV."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence


def delimited(rows: Iterable[Sequence[str]], kind: str) -> bytes:
    """Return rows of cells in the format `kind`, `.csv` or `.tsv`, in UTF-8."""
    # The csv module of Python 3.11 writes a lone carriage return without quotes, and then cannot
    # read it.
    separator = "\t" if kind == ".tsv" else ","
    quoted = re.compile(f'["\r\n{separator}]')
    cells = (
        (f'"{cell.replace(chr(34), chr(34) * 2)}"' if quoted.search(cell) else cell for cell in row)
        for row in rows
    )
    return without_surrogates("".join(separator.join(row) + "\n" for row in cells)).encode()


def plain_text(value: object) -> str:
    """Return a value as the text of a cell. Lists, objects and truth values become JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def without_surrogates(text: str) -> str:
    """Return `text` with the replacement character instead of lone surrogates."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
