"""Write the tables on new tokens into a page, from the results in results/vocabulary.

    python -m benchmarks.studies.vocabulary docs/explanation/new-tokens.md

The results come from `benchmarks.studies.fragmentation`, and from `benchmarks.training.run` with
`--output benchmarks/results/vocabulary`.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import markdown
from benchmarks.command import reports_input_errors
from benchmarks.studies import fragmentation
from benchmarks.training import results
from benchmarks.training.comparison import (
    Records,
    by_task,
    differences,
    mean_interval,
    relative_costs,
    scores,
)
from benchmarks.training.experiment import FORMAT
from tokensieve.errors import InputError

NAME = "benchmarks.studies.vocabulary"
PLAIN, UNFROZEN = "tokensieve", "tokensieve@schedule.frozen_layers=0"


class Variant(NamedTuple):
    """A method with new tokens, how their rows are made, and the same method without them."""

    title: str
    method: str
    without: str


VARIANTS = (
    Variant("the mean of the old pieces' rows", f"{PLAIN}@vocabulary.new_tokens=300", PLAIN),
    Variant("fitted to the old states below the trained layers", "distilled_states", PLAIN),
    Variant("fitted to the old vectors of the texts", "distilled_vectors", PLAIN),
    Variant("trained on the labels first, all else frozen", "trained_rows", PLAIN),
    Variant(
        "trained with all layers", f"{PLAIN}@vocabulary.new_tokens=300+schedule.frozen_layers=0", UNFROZEN
    ),
)
HEADER = (
    *("task", "texts per class", "rows of the new tokens", "seeds"),
    *("without", "with", "difference", "95% interval", "cost"),
)


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 written, 2 no results."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {NAME}", description="Write the tables on new tokens into a page."
    )
    parser.add_argument("page", type=Path, help="a Markdown file with two marks")
    parser.add_argument("--results", type=Path, default=fragmentation.RESULTS.parent)
    asked = parser.parse_args(arguments)
    records = [
        record
        for record in results.read_all(asked.results)
        if record.get("format") == FORMAT and not record["held_out"]
    ]
    divided = results.read(asked.results / fragmentation.RESULTS.name)
    if not (records and divided):
        raise InputError(f"{asked.results} has no results; make some with benchmarks.training.run")
    tables = fragmentation.table(_by_tokens(divided)), score_table(records)
    markdown.write_between(asked.page, NAME, "\n\n".join(tables))
    return 0


def score_table(records: Records) -> str:
    """Return the table of the differences that new tokens make, on the same samples.

    Scores are percentages on the test sets. The interval is Student's for the mean over seeds. Cost
    is in CPU seconds of the training, relative to that without new tokens.
    """
    rows = [
        row
        for task, shots in sorted(
            {(record["task"], record["shots"]) for record in records},
            key=lambda own: (own[0], own[1] or math.inf),
        )
        for variant in VARIANTS
        if (row := _row(records, task, shots, variant))
    ]
    return markdown.table([HEADER, *rows])


def _row(records: Records, task: str, shots: int | None, variant: Variant) -> list[str] | None:
    methods = (variant.method, variant.without)
    chosen = [
        record
        for record in records
        if (record["task"], record["shots"]) == (task, shots) and record["method"] in methods
    ]
    seeds = set.intersection(
        *({record["seed"] for record in chosen if record["method"] == method} for method in methods)
    )
    if not seeds:
        return None
    grouped = by_task([record for record in chosen if record["seed"] in seeds])
    gaps = [100 * gap for gap in differences(grouped, variant.method, variant.without)]
    low, high = mean_interval(gaps)
    without, with_tokens = (
        100 * float(np.mean(scores(grouped[method][task]))) for method in (variant.without, variant.method)
    )
    return [
        *(task, str(shots or "all"), variant.title, str(len(seeds))),
        *(f"{without:.2f}", f"{with_tokens:.2f}", f"{float(np.mean(gaps)):+.2f}"),
        f"{low:+.1f} to {high:+.1f}" if len(gaps) > 1 else "–",
        f"{relative_costs(grouped, variant.without)[variant.method]:.2f}",
    ]


def _by_tokens(divided: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records in the order of their tokens per word."""
    return sorted(divided.values(), key=lambda record: record["tokens_per_word"])


if __name__ == "__main__":
    sys.exit(main())
