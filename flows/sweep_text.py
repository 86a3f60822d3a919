"""The ranking of a sweep for people: on the terminal and in Markdown."""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Iterator
from typing import Any

from tokensieve.project import Layout
from tokensieve.report.markdown import table as markdown_table

WIDTH = 120  # columns without a terminal


def sweep_text(result: dict[str, Any], layout: Layout) -> str:
    """Return the ranking, how to read it, and the command that applies the best settings."""
    from rich.console import Console
    from rich.table import Table

    output = io.StringIO()
    wide = min(140, Console(stderr=True).width) if sys.stderr.isatty() else WIDTH
    console = Console(file=output, width=wide, highlight=False)
    table = Table(title=_title(result), title_justify="left")
    for name in _head(result):
        table.add_column(name, overflow="fold")
    for cells in _rows(result, "\n"):
        table.add_row(*cells)
    console.print(table)
    for line in _notes(result, layout):
        console.print(line, markup=False, soft_wrap=True)
    return output.getvalue().rstrip()


def sweep_markdown(result: dict[str, Any], layout: Layout) -> str:
    """Return the same in Markdown, for the page of the run in Prefect."""
    notes = "\n".join(f"- {line}" for line in _notes(result, layout))
    return f"# {_title(result)}\n\n{markdown_table(_head(result), _rows(result, ', '))}\n\n{notes}\n"


def _title(result: dict[str, Any]) -> str:
    counts = [(len(result["rows"]), "combination"), (len(result["seeds"]), "seed"), (result["folds"], "fold")]
    factors = " x ".join(f"{count} {name}{'s' if count > 1 else ''}" for count, name in counts)
    return f"{factors} = {result['cells']:,} cells, on {result['texts']:,} training texts"


def _head(result: dict[str, Any]) -> tuple[str, ...]:
    metric = result["metric"].replace("_", " ").replace("f1", "F1")
    return "settings", metric, "spread", "behind the best", "s per cell"


def _rows(result: dict[str, Any], separator: str) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each row of the table. In brackets: the 95% confidence interval.

    `separator` is between the settings of a row.
    """
    for row in result["rows"]:
        found, behind = row["figures"][result["metric"]], row["behind"]
        name = separator.join(row["settings"]) or "as in params.yaml"
        mark = f"{separator}(present)" if row["is_present"] and row["settings"] else ""
        gap = "" if behind is None else _with_interval(behind)
        figures = _with_interval(found), f"{found['spread']:.4f}", gap + (" worse" if row["is_worse"] else "")
        yield name + mark, *figures, f"{row['seconds']:.1f}"


def _with_interval(found: dict[str, float]) -> str:
    return f"{found['mean']:.4f} ({found['low']:.3f} to {found['high']:.3f})"


def _notes(result: dict[str, Any], layout: Layout) -> Iterator[str]:
    """Yield how to read the table, and what to do."""
    rows = result["rows"]
    yield "in brackets: 95% interval; spread: standard deviation over the cells; no test text was used"
    if len(rows) == 1:
        return
    equal = sum(not row["is_worse"] for row in rows) - 1
    yield f"not measurably worse than the best (the interval contains 0): {equal} of {len(rows) - 1}"
    is_enough = any(row["is_present"] and not row["is_worse"] for row in rows)
    if is_enough:
        best = "the best" if rows[0]["is_present"] else "among them"
        yield f"the present settings are {best}: nothing needs to change"
    if not rows[0]["is_present"]:
        here = f" --project {shlex.quote(str(layout.root))}" if layout.root != layout.root.cwd() else ""
        what = "apply the best all the same" if is_enough else "apply the best"
        yield f"{what}: tokensieve run{here} --set {shlex.join(rows[0]['settings'])}"
