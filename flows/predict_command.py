"""The command `predict`. As in `cli.py`, it imports what it needs when it runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tokensieve.errors import InputError

if TYPE_CHECKING:
    from tokensieve.predictor import LabelSet, Prediction

Answer = Callable[[str], None]


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of `predict`."""
    about = "exported folder, of one task or shared by several, models:/NAME@ALIAS or models:/NAME/VERSION"
    parser.add_argument("--model", required=True, metavar="DIR_OR_URI", help=about)
    parser.add_argument("--json", action="store_true", help="print one JSON object a text")
    about = "likeliest labels: that --json lists (default: 3), or in a column of the output"
    parser.add_argument("--top", type=int, metavar="K", help=about)
    parser.add_argument("texts", nargs="*", metavar="TEXT")
    parser.add_argument("--input", metavar="FILE", help="label the texts of a CSV, TSV, JSONL, Parquet or Arrow file instead")
    parser.add_argument("--output", metavar="FILE", help="where its rows go with their answers, in any of these formats")
    parser.add_argument("--text", metavar="COLUMN", help="the column with the texts (default: text)")


def run(options: argparse.Namespace, model: Callable[[argparse.Namespace], Path], answer: Answer) -> None:
    """Label the texts given, or those of a file, with the `model` that the options name.

    Raises:
        InputError: an option's value or combination; as `served.load` and `bulk.score`.
    """
    _refuse(options)
    if options.input:
        from tokensieve.bulk import score

        rows = score(model(options), Path(options.input), Path(options.output), options.text or "text", options.top)
        answer(f"{options.output}: {rows:,} rows")
        return
    from tokensieve.predictor import cores
    from tokensieve.served import load

    # An argument that is not UTF-8 arrives with lone surrogates, which cannot be printed.
    texts = [text.encode("utf-8", "replace").decode("utf-8") for text in options.texts]
    answers = load(model(options), cores()).predict_by_task(texts, 3 if options.top is None else options.top)
    for place, text in enumerate(texts):
        found = {task: given[place] for task, given in answers.items()}
        answer(_tree(text, found) if options.json else _line(found))


def _tree(text: str, found: Mapping[str, Prediction | LabelSet]) -> str:
    from tokensieve.predictor import ONLY

    said = asdict(found[ONLY]) if ONLY in found else {"tasks": {task: asdict(given) for task, given in found.items()}}
    return json.dumps({"text": text} | said, ensure_ascii=False)


def _line(found: Mapping[str, Prediction | LabelSet]) -> str:
    return "; ".join(f"{task}: {_shown(given)}" if task else _shown(given) for task, given in found.items())


def _shown(found: Prediction | LabelSet) -> str:
    from tokensieve.predictor import LabelSet

    labels = found.labels if isinstance(found, LabelSet) else [(found.label, found.probability)]
    shown = ", ".join(f"{label}  {probability:.3f}" for label, probability in labels) or "no label"
    return f"{shown}{'  (uncertain)' if found.uncertain else ''}"


def _refuse(options: argparse.Namespace) -> None:
    """Refuse texts and a file at once, neither, and half of what a file needs."""
    if bool(options.texts) == bool(options.input):
        raise InputError(f"give texts, or --input and --output{', not both' if options.texts else ''}")
    if bool(options.input) != bool(options.output):
        raise InputError("--input needs --output; give both" if options.input else "--output needs --input; give both, and no texts")
    if options.input and options.json:
        raise InputError("--json is for texts; give an --output that ends in .jsonl")
    if options.text and not options.input:
        raise InputError("--text names a column of --input; give both")
