"""Measure how often `find_drift` finds a difference: without one (false alarms), and with known
ones.

    python -m benchmarks.studies.drift --data DIR

DIR has the task folders clinc150 and banking77. A model is trained on 10 texts per class of
clinc150 without five classes, and exported. Reference and window are drawn from clinc150's
validation and test texts, shuffled together. In one row, the reference is of the validation file
and the window of the test file, as the data set has them. Into a window are mixed out-of-scope
queries of clinc150, texts of banking77, or texts of a class that the model has not seen. Draws that
are in the results already are not drawn again. The table is printed at the end.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import markdown
from benchmarks.command import reports_input_errors
from tokensieve import fit
from tokensieve.data.examples import Examples
from tokensieve.data.raw_data import read_examples
from tokensieve.monitoring.drift import Drift, find_drift
from tokensieve.monitoring.observations import Observations, observe

RESULTS = Path(__file__).parents[1] / "results" / "drift.jsonl"
PER_CLASS = 10
UNSEEN = 5  # classes that the model is not trained on
SIZES = (50, 200, 1000)  # texts of a window
REFERENCE = 1000
UNCHANGED_DRAWS, CHANGED_DRAWS = 200, 50
# The name of a change, what is mixed in, and its share of the window.
FILES = "the test file against the validation file"
CHANGES = (
    ("unchanged", "", 0.0),
    (FILES, "", 0.0),
    ("out of scope 5%", "oos", 0.05),
    ("out of scope 10%", "oos", 0.1),
    ("out of scope 20%", "oos", 0.2),
    ("another task's texts 10%", "banking", 0.1),
    ("a new class 10%", "unseen", 0.1),
)


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the table. Return status 2 for invalid input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.drift", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--model", type=Path, required=True, help="folder of the model, made if it is missing"
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    measure(options.data, options.model, options.output)
    print(table(_kept(options.output)))
    return 0


def measure(data: Path, model: Path, output: Path) -> None:
    """Append the draws that `output` does not have yet."""
    observed = _observed(data, model)
    done = {(row["change"], row["texts"], row["draw"]) for row in _kept(output)}
    with output.open("a", encoding="utf-8") as file:
        for change, kind, share in CHANGES:
            draws = CHANGED_DRAWS if share else UNCHANGED_DRAWS
            for texts, draw in ((texts, draw) for texts in SIZES for draw in range(draws)):
                if (change, texts, draw) not in done:
                    found = _drawn_drift(observed, change == FILES, kind, share, texts, draw)
                    row = {"change": change, "texts": texts, "draw": draw, "differs": found.differs}
                    row["tests"] = [test.name for test in found.tests if test.differs]
                    file.write(json.dumps(row) + "\n")
                    file.flush()


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the share of windows that differ by change and size, and which tests found it."""
    lines = []
    for change, _, _ in CHANGES:
        for texts in SIZES:
            drawn = [row for row in rows if (row["change"], row["texts"]) == (change, texts)]
            if not drawn:
                continue
            differs = [bool(row["differs"]) for row in drawn]
            pairs = [first and second for first, second in pairwise(differs)]
            names = [name for row in drawn for name in row["tests"]]
            by = ", ".join(f"{name} {names.count(name) / len(drawn):.0%}" for name in sorted(set(names)))
            cells = (f"{np.mean(differs):.1%}", f"{np.mean(pairs):.1%}", by)
            lines.append((change, f"{texts:,}", f"{len(drawn)}", *cells))
    heads = ("change", "texts", "windows", "differ", "alarm (two in a row)", "found by")
    return markdown.table([heads, *lines])


def _drawn_drift(
    observed: dict[str, Observations], by_file: bool, kind: str, share: float, texts: int, draw: int
) -> Drift:
    generator = np.random.default_rng([draw, texts])
    mixed = round(texts * share)
    if by_file:
        known, found = observed["validation"], observed["test"]
        reference = known.take(generator.permutation(len(known))[:REFERENCE])
        window = found.take(generator.permutation(len(found))[: texts - mixed])
    else:
        both = _join(observed["validation"], observed["test"])
        order = generator.permutation(len(both))
        reference = both.take(order[:REFERENCE])
        window = both.take(order[REFERENCE : REFERENCE + texts - mixed])
    if mixed:
        others = observed[kind]
        window = _join(window, others.take(generator.choice(len(others), mixed, replace=len(others) < mixed)))
    return find_drift(reference, window, draw)


def _observed(data: Path, model: Path) -> dict[str, Observations]:
    """Return what the model makes of the texts of each kind."""
    train = read_examples(data / "clinc150" / "train.csv")
    unseen = sorted({label for (label,) in train.labels})[:: 150 // UNSEEN][:UNSEEN]
    if not (model / "manifest.json").exists():
        seen = list(_per_class(train.texts, [label for (label,) in train.labels], unseen))
        fit([text for text, _ in seen], [label for _, label in seen]).export(model)
    validation, test = (read_examples(data / "clinc150" / f"{part}.csv") for part in ("validation", "test"))
    texts = {
        "validation": [text for text, (label,) in _rows(validation) if label not in unseen],
        "test": [text for text, (label,) in _rows(test) if label not in unseen],
        "unseen": [text for text, (label,) in _rows(test) if label == unseen[0]],
        "banking": list(read_examples(data / "banking77" / "test.csv").texts),
        "oos": [row["text"] for row in _csv(data / "clinc150" / "oos_test.csv")],
    }
    return {kind: observe(model, list(known)) for kind, known in texts.items()}


def _rows(examples: Examples) -> Iterator[tuple[str, tuple[str, ...]]]:
    return zip(examples.texts, examples.labels, strict=True)


def _per_class(
    texts: Sequence[str], labels: Sequence[str], unseen: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Yield the first `PER_CLASS` texts of each class that is not in `unseen`."""
    counts: dict[str, int] = {}
    for text, label in zip(texts, labels, strict=True):
        if label not in unseen and counts.get(label, 0) < PER_CLASS:
            counts[label] = counts.get(label, 0) + 1
            yield text, label


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _join(first: Observations, second: Observations) -> Observations:
    joined: dict[str, Any] = {
        part.name: np.concatenate([getattr(first, part.name), getattr(second, part.name)])
        for part in fields(first)
        if part.name != "classes"
    }
    return replace(first, **joined)


def _kept(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    sys.exit(main())
