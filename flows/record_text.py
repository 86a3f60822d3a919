"""The record of promotions as a table."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

COLUMNS = ("", "when (UTC)", "who", "what", "version", "gate", "why", "state")


def record_text(tree: dict[str, Any]) -> str:
    """Return a record as a table, the newest entry first.

    The record is what `tasks.promotion.shown_record.record_tree` returns.
    """
    if not tree["entries"] and tree["intact"]:
        return f"No version of '{tree['model']}' was promoted yet."
    rows = [tuple(_cells(entry)) for entry in reversed(tree["entries"])]
    recorded = sum(1 for entry in tree["entries"] if entry["number"])
    entries = "1 entry" if recorded == 1 else f"{recorded} entries"
    chain = (
        f"The record is intact: {entries}, each with the hash of the one before it."
        if tree["intact"]
        else f"The record is BROKEN: {tree['fault']}."
    )
    title = f"Champions of {tree['model']}"
    # A column is shown if it has anything: most promotions have no state to name.
    shown = [place for place in range(len(COLUMNS)) if any(row[place] for row in rows)]
    table = table_text(
        [COLUMNS[place] for place in shown], [[row[place] for place in shown] for row in rows], title
    )
    return f"{table}\n{chain}"


def table_text(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> str:
    """Return a table of `rows` as text, as wide as the terminal, at most 160 characters."""
    from rich.console import Console
    from rich.table import Table

    output = io.StringIO()
    width = min(160, max(100, Console(stderr=True).width))
    console = Console(file=output, width=width, highlight=False, markup=False)
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    return output.getvalue().rstrip()


def _cells(entry: dict[str, Any]) -> Iterator[str]:
    yield str(entry["number"] or "")
    yield entry["at"].replace("T", " ").removesuffix("+00:00")
    who = f"{entry['user']} on {entry['host']}" if entry["user"] else ""
    yield f"{who}, flow run {entry['flow_run']}" if entry["flow_run"] else who
    yield entry["action"]
    before, is_refusal = entry["from"] or "none", entry["action"] == "refuse"
    yield f"{entry['to']} (champion: {before})" if is_refusal else f"{before} → {entry['to']}"
    verdict = _verdict(entry["gate"])
    yield f"{verdict}, forced" if entry["forced"] else verdict
    yield entry["reason"] or ""
    yield {"done": "", None: "under way"}.get(entry["outcome"], entry["outcome"])


def _verdict(gate: dict[str, Any] | None) -> str:
    """Return the gate's verdict in a word. Empty if there was no gate."""
    if gate is None:
        return ""
    return str(gate["outcome"])
