"""The command `explain`: the words that decide a prediction, or the label of a whole class."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokensieve.cli.command import PREDICT, Answer, Command, add_project, existing_project
from tokensieve.cli.model_option import add_model, find_model
from tokensieve.cli.texts import text_batches
from tokensieve.errors import InputError
from tokensieve.project import Layout

if TYPE_CHECKING:
    from tokensieve.inference.explain import Effect, Explanation

SHOWN = 10  # words per text; with --json all of them
SHOWN_OF_LABEL = 20
REMEDY = "use one text per line, texts as arguments, or --label LABEL for a whole class"

log = logging.getLogger("tokensieve")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_project(parser)
    add_model(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object per text, or per label")
    about = "label to explain (default: the most likely one); without a text, the words that the model "
    about += "relies on for this label, in the project's held-out texts"
    parser.add_argument("--label", metavar="LABEL", help=about)
    about = "texts; with - or no text, the lines of standard input"
    parser.add_argument("texts", nargs="*", metavar="TEXT", help=about)


def explain(options: argparse.Namespace, answer: Answer) -> None:
    """Show which words decide a prediction: the effect of removing each of them.

    Raises:
        InputError: If the model cannot be read, or it does not know the label.
    """
    if options.label is not None and not options.texts:
        _explain_label(options, answer)
        return
    if not options.texts and sys.stdin.isatty():
        raise InputError(REMEDY)
    from tokensieve.cpus import cores
    from tokensieve.inference.explain import explain
    from tokensieve.inference.load import load

    model = load(find_model(options), cores())
    # A folder of an earlier version has no phrases: those of its project.
    phrases = model.phrases or _phrases(options)
    for texts in text_batches(options.texts, REMEDY):
        for text in texts:
            began = time.perf_counter()
            found = explain(model, text, options.label, phrases)
            seconds = time.perf_counter() - began
            if options.json:
                answer(_tree(text, found, seconds))
                continue
            answer(text)
            for task, explanation in found.items():
                for line in _lines(task, explanation, seconds):
                    answer(line)


def _phrases(options: argparse.Namespace) -> list[str]:
    """Return the constructs of the project; none outside a project."""
    layout = Layout(Path(options.project).resolve())
    return [construct["text"] for construct in _constructs(layout)]


def _constructs(layout: Layout) -> list[dict[str, Any]]:
    from tokensieve.files import read_json

    path = layout.vocabulary / "constructs.json"
    return list(read_json(path)) if path.exists() else []


def _explain_label(options: argparse.Namespace, answer: Answer) -> None:
    """Print the words and phrases that the model relies on for a label."""
    from tokensieve.data.examples import Examples
    from tokensieve.evaluation.reliance import measure_reliance, texts_given
    from tokensieve.inference.predictor import Predictor
    from tokensieve.method.overlaps import without_overlaps

    layout = existing_project(options)
    path = layout.split / "test.jsonl"
    if not path.exists():
        raise InputError(f"{layout.root} has no held-out texts yet; run tokensieve run, or give a text")
    model = Predictor.load(find_model(options))
    if options.label not in model.manifest.labels:
        known = ", ".join(model.manifest.labels)
        raise InputError(f"--label {options.label}: the model does not know this label; its labels: {known}")
    began = time.perf_counter()
    texts = texts_given(model, Examples.load(path).texts, options.label)
    found = measure_reliance(model, texts, options.label, _constructs(layout))
    seconds = time.perf_counter() - began
    if options.json:
        words = [asdict(reliance) for reliance in found]
        answer(json.dumps({"label": options.label, "texts": len(texts), "words": words}, ensure_ascii=False))
        return
    from tokensieve.cli.evaluate import aligned

    header = ("mean effect", "effect", "texts", "information", "indicates", "words")
    rows = [
        (
            f"{reliance.mean_effect:+.2f}",
            f"{reliance.effect:+.2f}",
            str(reliance.texts),
            "-" if reliance.information is None else f"{reliance.information:.3f}",
            reliance.indicates or "-",
            reliance.text,
        )
        for reliance in without_overlaps(found, SHOWN_OF_LABEL)
    ]
    answer(f"{options.label}: {len(texts)} held-out texts with this prediction, in {seconds:.1f} s")
    for line in aligned([header, *rows]):
        answer(line)


def _lines(task: str, found: Explanation, seconds: float) -> Iterator[str]:
    yield f"{f'{task}: ' if task else ''}{found.label}  {found.probability:.3f}"
    yield "  effect  without  words"
    for effect in found.ranked()[:SHOWN]:
        yield f"  {effect.effect:+6.2f}  {effect.probability:7.3f}  {effect.text}{_change(found, effect)}"
    count = len(found.words) + len(found.phrases) + 1
    yield f"  {count} predictions in {seconds * 1e3:.0f} ms{', of the part that is read' * found.truncated}"


def _change(found: Explanation, effect: Effect) -> str:
    """Return the labels without the words, if they are others."""
    labels, before = ([label for label, _ in given] for given in (effect.labels, found.labels))
    return "" if labels == before else f"  (without: {', '.join(labels) or 'no label'})"


def _tree(text: str, found: Mapping[str, Explanation], seconds: float) -> str:
    from tokensieve.inference.prediction import SINGLE_TASK

    tree: dict[str, Any] = {"text": text}
    tree |= (
        asdict(found[SINGLE_TASK])
        if SINGLE_TASK in found
        else {"tasks": {task: asdict(explanation) for task, explanation in found.items()}}
    )
    return json.dumps(tree | {"milliseconds": round(seconds * 1e3, 1)}, ensure_ascii=False)


COMMANDS = (Command("explain", PREDICT, explain, _add_arguments),)
