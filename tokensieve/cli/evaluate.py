"""The command `evaluate`: a model on new labelled data."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from tokensieve.cli.command import PREDICT, Answer, Command, add_json, add_project
from tokensieve.cli.model_option import add_model, find_model
from tokensieve.project import Layout


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_project(parser)
    about = "CSV, TSV, JSONL, Parquet or Arrow file with texts and labels"
    about += " (columns: data.text_column and data.label_column of the project)"
    parser.add_argument("--data", required=True, metavar="FILE", help=about)
    about = "file with texts that belong to no class, to measure how many of them are noticed"
    parser.add_argument("--oos", metavar="FILE", help=about)
    parser.add_argument(
        "--set",
        dest="changes",  # of no project, so a failed command has none to undo
        action="extend",
        nargs="+",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="settings for this command only, for example data.text_column=TEXT",
    )
    add_model(parser)
    add_json(parser)


def evaluate(options: argparse.Namespace, answer: Answer) -> None:
    """Measure an exported model on new labelled data.

    Raises:
        InputError: If the model or a file cannot be read, or no label is known to the model.
    """
    from tokensieve.data.text_hashes import NAME, load_hashes
    from tokensieve.evaluation.labelled_data import CLASSES, class_rows, evaluate_file, figure_rows
    from tokensieve.inference.predictor import Predictor
    from tokensieve.settings import assigned

    layout = Layout(Path(options.project).resolve())
    settings = assigned(layout.params, options.changes)
    folder = find_model(options)
    oos = Path(options.oos) if options.oos else None
    result = evaluate_file(
        Predictor.load(folder), Path(options.data), settings.data, oos, load_hashes(folder / NAME)
    )
    if options.json:
        answer(json.dumps(result, ensure_ascii=False))
        return
    for line in [*aligned([*figure_rows(result)]), "", *aligned([CLASSES, *class_rows(result)])]:
        answer(line)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines with columns of equal width."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


COMMANDS = (Command("evaluate", PREDICT, evaluate, _add_arguments, extra="pipeline"),)
