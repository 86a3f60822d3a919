"""The command `predict`: predict texts, or a file of texts."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokensieve.cli.command import PREDICT, Answer, Command, add_project
from tokensieve.cli.model_option import add_model, find_model
from tokensieve.cli.texts import text_batches
from tokensieve.counted import counted
from tokensieve.errors import InputError

if TYPE_CHECKING:
    from tokensieve.inference.bulk import FileSummary
    from tokensieve.inference.prediction import Prediction

SHOWN = 10  # labels of a summary
REMEDY = "use one text per line, texts as arguments, or --input and --output"

log = logging.getLogger("tokensieve")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_project(parser)
    add_model(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object per text")
    about = "number of most probable labels, with --json (default: 3) or in a column of the output"
    parser.add_argument("--top", type=int, metavar="K", help=about)
    parser.add_argument(
        "texts", nargs="*", metavar="TEXT", help="texts; with - or no text, the lines of standard input"
    )
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="predict the texts of a CSV, TSV, JSONL, Parquet or Arrow file instead",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="file for the rows with their predictions, in any of these formats"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    about = "column with the texts (default: those of the model, or text); repeat it to join several"
    parser.add_argument("--text", action="append", metavar="COLUMN", help=about)
    about = "prefix of the added columns, if the file already has a column label"
    parser.add_argument("--answer-prefix", dest="prefix", default="", metavar="PREFIX", help=about)


def predict(options: argparse.Namespace, answer: Answer) -> None:
    """Predict the labels of texts: arguments, lines of standard input, or a file.

    Raises:
        InputError: If options contradict each other, or as `load` and `bulk.predict_file`.
    """
    _refuse(options)
    folder = find_model(options)
    if options.input:
        from tokensieve.inference.bulk import predict_file

        output = Path(options.output)
        for line in _summary(
            output,
            predict_file(folder, Path(options.input), output, options.text, options.top, options.prefix),
        ):
            answer(line)
        return
    from tokensieve.cpus import cores
    from tokensieve.inference.load import load

    loaded = load(folder, cores())
    for texts in text_batches(options.texts, REMEDY):
        answers = loaded.predict_by_task(texts, 3 if options.top is None else options.top)
        for place, text in enumerate(texts):
            found = {task: given[place] for task, given in answers.items()}
            answer(_tree(text, found) if options.json else _line(found))


def _summary(output: Path, summary: FileSummary) -> Iterator[str]:
    """Yield a summary: one line for the file, and two lines per task."""
    without = f", {summary.without_text:,} of them without a text" if summary.without_text else ""
    yield f"{output}: {counted(summary.rows, 'row')}{without}, in {summary.seconds:.1f} s"
    answered = summary.rows - summary.without_text
    for task, counts in summary.tasks.items():
        name = f"{task}: " if task else ""
        if answered:
            shares = (
                f"{number:,} {what} ({number / answered:.1%})"
                for what, number in vars(counts).items()
                if what != "labels"
            )
            yield f"{name}{', '.join(shares)}"
        if counts.labels:
            shown = ", ".join(f"{label} {number:,}" for label, number in counts.labels.most_common(SHOWN))
            others = len(counts.labels) - SHOWN
            more = f" and {counted(others, 'other label')}" if others > 0 else ""
            yield f"{name}{shown}{more}"


def _tree(text: str, found: Mapping[str, Prediction]) -> str:
    from tokensieve.inference.prediction import SINGLE_TASK

    said = (
        _fields(found[SINGLE_TASK])
        if SINGLE_TASK in found
        else {"tasks": {task: _fields(given) for task, given in found.items()}}
    )
    return json.dumps({"text": text} | said, ensure_ascii=False)


def _fields(found: Prediction) -> dict[str, Any]:
    if found.multi_label:
        labels: dict[str, Any] = {"labels": found.labels}
    else:
        labels = {"label": found.label, "probability": found.probability}
    return labels | {"uncertain": found.uncertain, "truncated": found.truncated, "top": found.top}


def _line(found: Mapping[str, Prediction]) -> str:
    return "; ".join(f"{task}: {_shown(given)}" if task else _shown(given) for task, given in found.items())


def _shown(found: Prediction) -> str:
    shown = ", ".join(f"{label}  {probability:.3f}" for label, probability in found.labels) or "no label"
    return f"{shown}{'  (uncertain)' if found.uncertain else ''}"


def _refuse(options: argparse.Namespace) -> None:
    """Raise InputError if the options contradict each other or the output exists."""
    if options.texts and options.input:
        raise InputError("use texts or --input and --output, not both")
    if not options.texts and not options.input and not options.output and sys.stdin.isatty():
        raise InputError(
            "use texts as arguments, --input and --output, or standard input with one text per line"
        )
    if bool(options.input) != bool(options.output):
        raise InputError(
            "--input needs --output; use both"
            if options.input
            else "--output needs --input; use both, and no texts"
        )
    if options.input and options.json:
        raise InputError("--json is for texts; for a file, use an --output that ends in .jsonl")
    for flag, value in (
        ("--text", options.text),
        ("--answer-prefix", options.prefix),
        ("--overwrite", options.overwrite),
    ):
        if value and not options.input:
            raise InputError(f"{flag} is for a file; use --input and --output")
    if options.output and Path(options.output).is_file() and not options.overwrite:
        raise InputError(
            f"{options.output} already exists; use --overwrite to replace it, or another --output"
        )


COMMANDS = (Command("predict", PREDICT, predict, _add_arguments),)
