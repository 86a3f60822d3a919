"""The summary of a run as people read it: a table, what the data is warned of, and where to look further."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from tokensieve.project import Layout

BUILDS = ("build", "ms per text", "MB", "agree", "confident agree", "accuracy", "logits differ", "")


def summary_text(result: dict[str, Any], layout: Layout) -> str:
    """The summary as text, ending in the commands to go on with."""
    table = Table(
        "figure",
        "value",
        title=f"{result['model_name']} version {result['model_version']}",
        title_justify="left",
    )
    for figure, value in figures(result):
        table.add_row(figure, value)
    output = io.StringIO()
    # A fixed width where there is no terminal, so that logs stay readable.
    console = Console(file=output, width=min(120, max(80, Console(stderr=True).width)), highlight=False)
    console.print(table)
    console.print(_race(result))
    for note in notes(result):
        console.print(note, markup=False, soft_wrap=True)
    for warning in result["warnings"]:
        console.print("warning:", warning, markup=False, soft_wrap=True)
    console.print(_further(result, layout), markup=False, soft_wrap=True)
    return output.getvalue().rstrip()


def figures(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each figure of a summary. In brackets: the 95% interval."""
    rows, torch = result["rows"], result.get("torch", {})
    for key in ("test_accuracy", "test_exact_match", "test_micro_f1", "test_macro_f1"):
        if key in result:
            other = f"; PyTorch {torch[key]:.4f}" if torch.get(key, result[key]) != result[key] else ""
            yield (
                key.replace("_", " ").replace("f1", "F1"),
                f"{result[key]:.4f}{_interval(result, key)}{other}",
            )
    worse = ": worse" if result.get("calibration_is_worse") else ""
    error = f"{result['test_ece']:.4f}{_interval(result, 'test_ece')}"
    yield "calibration error", f"{error}; without scaling {result['test_ece_before']:.4f}{worse}"
    if result["accepted_accuracy"] is not None:
        kept = f"{result['coverage']:.1%} of the test texts, {result['accepted_accuracy']:.4f} of them right"
        yield f"confident answers (≥ {result['threshold']:.3f})", kept
    if "calibration_texts" in result:
        oos = (
            f" and {result['calibration_oos_texts']:,} out of scope"
            if result["calibration_oos_texts"]
            else ""
        )
        crossed = ", training texts among them," if result["calibration_texts"] > rows["validation"] else ""
        yield (
            "confidence threshold",
            (
                f"{result['threshold']:.3f}{_interval(result, 'threshold')}, fitted on {result['calibration_texts']:,} texts{crossed}{oos}"
            ),
        )
    if result["oos_recall"] is not None:
        of = f" of {result['oos_texts']:,} texts" if "oos_texts" in result else ""
        yield "out-of-scope recall", f"{result['oos_recall']:.1%}{of}"
    yield "trained parameters", f"{result['trained_parameters']:,} of {result['total_parameters']:,}"
    yield "texts", ", ".join(f"{name} {count:,}" for name, count in rows.items())
    if result["tokens_saved"]:
        yield "tokens saved by new vocabulary", f"{result['tokens_saved']:.1%}"
    yield f"served build: {result['variant']}", _agreement(result)
    yield "seconds", _seconds(result)
    if result["skipped"]:
        yield "unchanged", ", ".join(result["skipped"])
    yield "data hash", result["data_hash"]


def builds(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each build of the exported graph, under the names in BUILDS."""
    for row in result["race"]:
        compared = ["", "", ""]
        if "agreement" in row:
            confident = f"{row['confident_agreement']:.2%}" if "confident_agreement" in row else ""
            compared = [f"{row['agreement']:.2%}", confident, f"{row['accuracy']:.4f}"]
        figures = [
            f"{row['milliseconds']:.2f}",
            f"{row['megabytes']:.1f}",
            *compared,
            f"{row['largest_difference']:.1g}",
        ]
        yield row["variant"], *figures, _note(row, result["variant"])


def notes(result: dict[str, Any]) -> Iterator[str]:
    """Yield which texts the columns of the builds are of, and why builds were refused."""
    texts, tested = (f"{count:,.0f}" for count in (result["parity"]["texts"], result["rows"]["test"]))
    yield f"agree: with PyTorch, on {texts} texts that were not trained on; accuracy: on {tested} test texts"
    if any("agreement" not in row for row in result["race"]):
        yield "builds are compared from the fastest until one can be served"
    for row in result["race"]:
        reasons = row.get("measured") or {fault: f"fails {fault}" for fault in row["faults"]}
        if reasons:
            yield f"{row['variant']} is refused: {'; '.join(reasons.values())}"


def _note(row: dict[str, Any], served: str) -> str:
    return "served" if row["variant"] == served else "refused" if row["faults"] else ""


def _agreement(result: dict[str, Any]) -> str:
    """Return how the served build's answers compare with PyTorch's."""
    parity = result["parity"]
    agreed = f"as PyTorch on {parity['agreement']:.2%} of {parity['texts']:,.0f} texts"
    if "confident_texts" not in parity:
        return agreed
    share, texts, proven = (
        parity[key] for key in ("confident_agreement", "confident_texts", "proven_agreement")
    )
    return f"{agreed}, on {share:.2%} of {texts:,.0f} confident answers (at least {proven:.1%})"


def _interval(result: dict[str, Any], key: str) -> str:
    """Return the 95% interval of a figure, in brackets."""
    if f"{key}_interval" not in result:
        return ""
    low, high = result[f"{key}_interval"]
    return f" ({low:.3f} to {high:.3f})"


def _seconds(result: dict[str, Any]) -> str:
    """What each stage took, and the run from the command line as a whole."""
    taken = ", ".join(f"{name} {seconds:.1f}" for name, seconds in result["seconds"].items()) or "none"
    if "total_seconds" not in result:
        return taken
    rest = result["outside_seconds"] - result["start_seconds"]
    outside = f"start {result['start_seconds']:.1f} (imports and Prefect's server), checks and bookkeeping {rest:.1f}"
    return f"{taken}; {outside}; total {result['total_seconds']:.1f}"


def _race(result: dict[str, Any]) -> Table:
    """The builds of the exported graph, the served one marked."""
    table = Table(*BUILDS)
    for cells in builds(result):
        table.add_row(*cells)
    return table


def _further(result: dict[str, Any], layout: Layout) -> str:
    database = layout.root / "mlflow.db"
    labels = ("confusions ", "confusion.png") if "test_accuracy" in result else ("each label ", "labels.png")
    run = (
        f"\nthe run       mlflow ui --backend-store-uri sqlite:///{_shown(database, layout)}"
        if database.exists()
        else ""
    )
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
