"""Compare every export variant of projects with PyTorch, and show which export limits it breaks.

    python -m benchmarks.serving.variants --projects DIR,DIR
    python -m benchmarks.serving.variants --readme docs/explanation/export.md

The first command builds all variants, times them in turns on one thread, and compares their
predictions for all texts that were not trained on. A project is named after its folder. Rows of the
same projects on the same kind of processor are replaced. The second one writes the tables.
For a processor without VNNI, run the first with `python -m benchmarks.serving.older_processor`
before it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import markdown
from benchmarks.command import reports_input_errors
from tasks.export import Untrained, make_builds, manifest_of
from tokensieve.bars import Bar
from tokensieve.cpus import cores
from tokensieve.errors import InputError
from tokensieve.export import choose_variant
from tokensieve.export.choose_variant import VariantResult
from tokensieve.inference.predictor import run_batches
from tokensieve.inference.session import load_engine
from tokensieve.model.batches import tokenize
from tokensieve.model.encoder import load_tokenizer
from tokensieve.processor import instructions, processor, saturates_int8
from tokensieve.project import Layout
from tokensieve.settings import VARIANTS, Settings

RESULTS = Path(__file__).parents[1] / "results" / "variants.jsonl"
TIMED = 100  # texts
KINDS = ("with VNNI", "with AMX", "AVX2 without VNNI")


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 measured or written, 2 invalid input."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.variants", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--projects", help="folders of projects whose stages up to evaluate have run")
    parser.add_argument("--readme", type=Path, help="page with the two marks of the tables")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of the results")
    asked = parser.parse_args(arguments)
    if not (asked.projects or asked.readme):
        parser.error("use --projects or --readme")
    for folder in asked.projects.split(",") if asked.projects else ():
        _replace(asked.results, measure(Layout(Path(folder).resolve())))
    if asked.readme:
        markdown.write_between(asked.readme, "benchmarks.serving.variants", tables(asked.results))
    return 0


def measure(layout: Layout) -> list[dict[str, Any]]:
    """Return a row per variant of a project."""
    settings, manifest = Settings.load(layout.params), manifest_of(layout)
    settings = replace(settings, export=replace(settings.export, variants=VARIANTS))
    untrained = Untrained.load(layout, manifest.labels)
    texts = untrained.all_texts()
    ids = tokenize(load_tokenizer(layout.model), texts, manifest.max_length, manifest.truncation)
    start = len(untrained.texts.get("validation", ()))
    with tempfile.TemporaryDirectory() as folder:
        builds, _ = make_builds(layout, settings, Path(folder))
        engines = {name: load_engine(path, name, 1) for name, path in builds.items()}
        spent = choose_variant.times(engines, ids[start : start + TIMED])
        rows = []
        for name, path in Bar(builds.items(), "compared with PyTorch", "variant"):
            found = run_batches(load_engine(path, name, cores()).run, ids, len(manifest.labels))
            compared = untrained.compared(found, manifest.rule)
            rows.append(
                {
                    "project": layout.root.name,
                    "saturates": saturates_int8(),
                    "processor": processor(),
                    "instructions": instructions(),
                    "variant": name,
                    "milliseconds": round(spent[name], 3),
                    "megabytes": round(path.stat().st_size / 1e6, 1),
                    "texts": compared.texts,
                    "other_labels": round((1 - compared.agreement) * compared.texts),
                    "confident_texts": compared.confident_texts,
                    "other_confident_labels": round(
                        (1 - compared.confident_agreement) * compared.confident_texts
                    ),
                    "largest_difference": round(compared.largest_difference, 3),
                    "accuracy_drop": round(compared.accuracy_drop, 5),
                    "accuracy_drop_chance": round(compared.accuracy_drop_chance, 3),
                    "coverage_change": round(compared.coverage_change, 4),
                    "calibration_rise": round(compared.calibration_rise, 4),
                    "violations": list(choose_variant.violations(name, compared, settings.export)),
                }
            )
    return rows


def tables(results: Path) -> str:
    """Return a table per kind of processor as Markdown.

    Raises:
        InputError: If nothing was measured.
    """
    rows = _read(results)
    if not rows:
        raise InputError(f"{results} has no results; make them with --projects")
    parts = []
    for kind in KINDS:
        here = [row for row in rows if _kind(row) == kind]
        if here:
            names = ", ".join(sorted({row["processor"] for row in here}))
            parts.append(f"{kind[0].upper()}{kind[1:]} ({names}):\n\n{markdown.table(_lines(here))}")
    return "\n\n".join(parts)


def _kind(row: dict[str, Any]) -> str:
    """Return which of `KINDS` the processor of a row is."""
    vnni, amx, older = KINDS
    if row["saturates"]:
        return older
    return amx if "amx_int8" in row["instructions"] else vnni


def _lines(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    lines = [
        [
            "task",
            "variant",
            "time, of fp32",
            "other labels",
            "of confident ones",
            "accuracy (one-sided p)",
            "outcome",
        ]
    ]
    for project in dict.fromkeys(row["project"] for row in rows):
        own = {row["variant"]: row for row in rows if row["project"] == project}
        kept = choose_variant.rank(
            [
                VariantResult(name, row["milliseconds"], row["megabytes"], row["largest_difference"])
                for name, row in own.items()
                if not row["violations"]
            ]
        )
        served = kept[0].variant if kept else ""
        for name, row in own.items():
            if name in choose_variant.EXACT and name != served:
                continue
            outcome = ", ".join(f"`{limit}`" for limit in row["violations"]) or "kept"
            lines.append(
                [
                    project,
                    f"`{name}`",
                    f"{row['milliseconds'] / own['fp32']['milliseconds']:.2f}",
                    f"{row['other_labels']} of {row['texts']:,}",
                    f"{row['other_confident_labels']} of {row['confident_texts']:,}",
                    f"{0 - 100 * row['accuracy_drop']:+.2f} ({row['accuracy_drop_chance']:.2f})",
                    "served" if name == served else outcome,
                ]
            )
    return lines


def _replace(results: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write `rows` to the file, instead of those of the same project and kind of processor."""
    same = {(row["project"], _kind(row)) for row in rows}
    others = [row for row in _read(results) if (row["project"], _kind(row)) not in same]
    text = "".join(json.dumps(row) + "\n" for row in [*others, *rows])
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(text, encoding="utf-8")


def _read(results: Path) -> list[dict[str, Any]]:
    if not results.is_file():
        return []
    return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    sys.exit(main())
