"""Text of others in Markdown: its special characters are escaped, so that it stays text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown. Special characters in its cells are escaped."""
    lines = [head, ["---"] * len(head), *([inline(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def inline(text: str) -> str:
    """Return `text` with Markdown's special characters escaped: labels may have them."""
    escaped = "".join(f"\\{c}" if c in "\\`*_[]|#" else c for c in " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;")
