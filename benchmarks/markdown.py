"""Write Markdown: tables, and a part of a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokensieve.errors import InputError


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a table. The first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def write_between(path: Path, name: str, content: str) -> None:
    """Write `content` into a page, between the lines `<!-- NAME: begin -->` and `<!-- NAME: end
    -->`.

    `name` is NAME in these lines.

    Raises:
        InputError: If one of the lines is missing.
    """
    first, last = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    head, begin, rest = path.read_text(encoding="utf-8").partition(first)
    _, end, tail = rest.partition(last)
    if not (begin and end):
        raise InputError(
            f"{path} lacks the lines {first.strip()} and {last}; put them where the tables belong"
        )
    path.write_text(f"{head}{begin}\n{content}\n\n{end}{tail}", encoding="utf-8")
