"""The summary of a run as people read it: a table, what the data is warned of, and where to look further."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from tokensieve.layout import Layout

BUILDS = ("export", "ms a text", "MB", "as torch", "accuracy", "logits off", "")


def summary_text(result: dict[str, Any], layout: Layout) -> str:
    """The summary as text, ending in the commands to go on with."""
    table = Table("figure", "value", title=f"{result['model_name']} version {result['model_version']}", title_justify="left")
    for figure, value in figures(result):
        table.add_row(figure, value)
    output = io.StringIO()
    # A fixed width where there is no terminal, so that logs stay readable.
    console = Console(file=output, width=min(120, max(80, Console(stderr=True).width)), highlight=False)
    console.print(table)
    console.print(_race(result))
    for warning in result["warnings"]:
        console.print("warning:", warning, markup=False)
    console.print(_further(result, layout), markup=False, soft_wrap=True)
    return output.getvalue().rstrip()


def figures(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each figure of a summary."""
    rows, parity = result["rows"], result["parity"]
    for key in ("test_accuracy", "test_exact_match", "test_micro_f1", "test_macro_f1"):
        if key in result:
            yield key.replace("_", " ").replace("f1", "F1"), f"{result[key]:.4f}"
    yield "calibration error", f"{result['test_ece']:.4f} (before scaling {result['test_ece_before']:.4f})"
    if result["accepted_accuracy"] is not None:
        kept = f"{result['coverage']:.1%} of the test texts, {result['accepted_accuracy']:.4f} of them right"
        yield f"sure (confidence from {result['threshold']:.3f})", kept
    if result["oos_recall"] is not None:
        yield "out-of-scope texts told", f"{result['oos_recall']:.1%}"
    yield "trained parameters", f"{result['trained_parameters']:,} of {result['total_parameters']:,}"
    yield "texts", ", ".join(f"{name} {count:,}" for name, count in rows.items())
    if result["tokens_saved"]:
        yield "tokens saved by new vocabulary", f"{result['tokens_saved']:.1%}"
    same = "same label" if "test_accuracy" in result else "same labels"
    yield "ONNX against torch", f"{same} on {parity['agreement']:.2%} of {parity['texts']:,} texts"
    yield "seconds", ", ".join(f"{name} {seconds:.1f}" for name, seconds in result["seconds"].items()) or "none"
    if result["skipped"]:
        yield "unchanged", ", ".join(result["skipped"])
    yield "data hash", result["data_hash"]


def builds(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each build of the exported graph, under the names in BUILDS."""
    for row in result["race"]:
        note = "served" if row["variant"] == result["variant"] else f"fails {row['faults'][0]}" if row["faults"] else ""
        cells = [f"{row['milliseconds']:.2f}", f"{row['megabytes']:.1f}", f"{row['agreement']:.2%}", f"{row['accuracy']:.4f}"]
        yield row["variant"], *cells, f"{row['largest_difference']:.1g}", note


def _race(result: dict[str, Any]) -> Table:
    """The builds of the exported graph, the served one marked."""
    table = Table(*BUILDS, title_justify="left")
    for cells in builds(result):
        table.add_row(*cells)
    return table


def _further(result: dict[str, Any], layout: Layout) -> str:
    database = layout.root / "mlflow.db"
    labels = ("confusions ", "confusion.png") if "test_accuracy" in result else ("each label ", "labels.png")
    run = f"\nthe run       mlflow ui --backend-store-uri sqlite:///{_shown(database, layout)}" if database.exists() else ""
    here = f" --project {layout.root}" if layout.root != layout.root.cwd() else ""
    return f"""
try it        tokensieve predict --model {_shown(layout.onnx, layout)} "your text"
serve it      tokensieve serve --model {_shown(layout.onnx, layout)}
promote it    tokensieve promote{here}
the data      {_shown(layout.validation / "docs" / "index.html", layout)}
the mask      {_shown(layout.mask / "mask.png", layout)}
{labels[0]}   {_shown(layout.evaluation / labels[1], layout)}{run}"""


def _shown(path: Any, layout: Layout) -> str:
    return str(path.relative_to(layout.root.cwd())) if path.is_relative_to(layout.root.cwd()) else str(path)
