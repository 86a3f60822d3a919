"""Compare encoders: accuracy, time to train, time per text and size.

    python -m benchmarks.serving.encoders --projects DIR,DIR --texts FILE
    python -m benchmarks.serving.encoders --readme docs/how-to/base-model.md

The first command times the exported models of projects that differ only in `base.model`. They take
turns, so that noise affects all of them equally. The second one writes the table: these times, and
the accuracy and the training time of the published samples with 10 texts per class.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import markdown
from benchmarks.command import reports_input_errors
from benchmarks.training.comparison import Records, conditions, encoder_of, scores
from benchmarks.training.published import SIZES, TASKS
from benchmarks.training.results import read_all
from tokensieve.data.raw_data import read_examples
from tokensieve.errors import InputError, excerpt
from tokensieve.inference.predictor import Predictor
from tokensieve.processor import processor
from tokensieve.project import Layout
from tokensieve.settings import Settings

RESULTS = Path(__file__).parents[1] / "results"
FILE = "encoders.json"
BLOCK, ROUNDS, WARM_UP = 50, 8, 20  # texts per block, blocks, texts before measuring


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 measured or written, 2 invalid input."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.encoders", description="Compare encoders."
    )
    parser.add_argument("--projects", help="folders of finished projects, separated by commas")
    parser.add_argument("--texts", type=Path, help="data file with a column text")
    parser.add_argument("--readme", type=Path, help="page with the two marks of the table")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    asked = parser.parse_args(arguments)
    if bool(asked.projects) != bool(asked.texts) or not (asked.projects or asked.readme):
        parser.error("use --projects together with --texts, or --readme")
    if asked.projects:
        found = measure([Layout(Path(name)) for name in asked.projects.split(",")], asked.texts)
        (asked.results / FILE).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if asked.readme:
        markdown.write_between(asked.readme, "benchmarks.serving.encoders", table(asked.results))
    return 0


def measure(layouts: Sequence[Layout], file: Path) -> dict[str, Any]:
    """Return the milliseconds per text and the size of each project's exported model, by encoder.

    Raises:
        InputError: If a project has no exported model, if two have the same encoder, or if the file
            cannot be read.
    """
    texts = read_examples(file, label=None).texts
    named = Counter(map(_encoder, layouts))
    if twice := [encoder for encoder, count in named.items() if count > 1]:
        raise InputError(f"--projects has two projects of the encoder {excerpt(twice[0])}; name one of them")
    predictors = {_encoder(layout): Predictor.load(layout.onnx, threads=1) for layout in layouts}
    for predictor in predictors.values():
        for text in texts[:WARM_UP]:
            predictor.predict([text])
    spent: dict[str, list[float]] = {encoder: [] for encoder in predictors}
    for turn in range(ROUNDS):
        block = [texts[(turn * BLOCK + i) % len(texts)] for i in range(BLOCK)]
        for encoder, predictor in predictors.items():
            for text in block:
                began = time.perf_counter()
                predictor.predict([text])
                spent[encoder].append(1000 * (time.perf_counter() - began))
    return {
        "cpu": processor(),
        "texts": file.parent.name,
        "encoders": {
            _encoder(layout): {
                "p50": round(statistics.median(spent[_encoder(layout)]), 2),
                "p99": round(float(np.percentile(spent[_encoder(layout)], 99)), 2),
                "variant": predictors[_encoder(layout)].manifest.variant,
                "megabytes": round((layout.onnx / "model.onnx").stat().st_size / 1e6, 1),
            }
            for layout in layouts
        },
    }


def table(results: Path) -> str:
    """Return the table of the encoders as Markdown, and the machines below it.

    Raises:
        InputError: If the times were not measured.
    """
    path = results / FILE
    if not path.is_file():
        raise InputError(f"{path} does not exist; make it with --projects and --texts")
    timed = json.loads(path.read_text(encoding="utf-8"))
    cells = [record for folder in sorted(results.glob("published*/")) for record in read_all(folder)]
    ours = [record for record in cells if record["method"] == "tokensieve" and record["shots"] == 10]
    records_of = {
        encoder: [record for record in ours if encoder_of(record) == encoder] for encoder in timed["encoders"]
    }
    # Costs are compared for the same samples, seeds and machine.
    shared = set.intersection(*({conditions(record) for record in found} for found in records_of.values()))
    rows = [
        ["encoder", "parameters", *TASKS, "CPU s per training", "ms per text: p50", "p99", "variant", "MB"]
    ]
    for encoder, measured in timed["encoders"].items():
        records = records_of[encoder]
        costs = [record["cpu_seconds"] for record in records if conditions(record) in shared]
        rows.append(
            [
                encoder,
                SIZES.get(encoder, "–"),
                *(
                    _accuracy([record for record in records if record["task"] == f"{task}_10"])
                    for task in TASKS
                ),
                f"{np.mean(costs):.0f}" if costs else "–",
                f"{measured['p50']:.2f}",
                f"{measured['p99']:.2f}",
                measured["variant"],
                f"{measured['megabytes']:.0f}",
            ]
        )
    samples = ", ".join(sorted({task for task, _, _ in shared})) or "none"
    machines = "; ".join(sorted({machine for _, _, machine in shared})) or "no common machine"
    return (
        f"{markdown.table(rows)}\n\nTraining: the samples and seeds that all encoders have "
        f"({samples}), {machines}. Time per text: one thread of {timed['cpu']}, "
        f"texts of {timed['texts']}."
    )


def _encoder(layout: Layout) -> str:
    return Settings.load(layout.params).base.model.rstrip("/").rpartition("/")[2]


def _accuracy(records: Records) -> str:
    return f"{100 * np.mean(scores(records)):.1f} ({len(records)})" if records else "–"


if __name__ == "__main__":
    sys.exit(main())
