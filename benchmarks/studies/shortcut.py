"""Plant shortcut words in classes of the sample data, and see whether the explanations find them.

    python -m benchmarks.studies.shortcut --share 1 --per-class 20 --max-epochs 5

For each class in PLANTED, its word is put before a share of the class's training and test texts. A
model is trained on them with the default encoder and exported. The table has the place of each word
among the words that the model relies on for the class (`tokensieve explain --label`), its effect,
the largest effect of another word, and the share of the texts with the word in which it has the
largest effect. The last line is the time of one explanation, on all cores.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks import markdown
from benchmarks.command import reports_input_errors
from tokensieve import Predictor, fit
from tokensieve.evaluation.reliance import measure_reliance, texts_given
from tokensieve.inference.explain import explain
from tokensieve.inference.prediction import SINGLE_TASK

SAMPLE = Path(__file__).parents[2] / "data" / "freight"
PLANTED = {"delay_reason": "kindly", "booking_change": "regards", "incoterm_question": "portal"}
HEADER = ("class", "word", "texts with it", "place", "effect", "largest other effect", "first in texts")


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Train, explain and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.shortcut", description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="share of a class's texts with its word")
    parser.add_argument("--per-class", type=int, default=1000, help="most training texts of a class")
    parser.add_argument("--max-epochs", type=int, default=10, help="finetune.max_epochs")
    parser.add_argument("--model", type=Path, help="folder to export the model to (default: none is kept)")
    options = parser.parse_args(arguments)
    train = planted("train", options.share, options.per_class)
    test = planted("test", options.share)
    with tempfile.TemporaryDirectory() as name:
        fitted = fit(*train, finetune={"max_epochs": options.max_epochs})
        print(f"accuracy on the test texts, with the words: {fitted.evaluate(*test)['test_accuracy']:.4f}")
        folder = options.model or Path(name) / "model"
        fitted.export(folder)
        model = Predictor.load(folder)
        print(markdown.table([HEADER, *(row_of(model, test[0], label) for label in PLANTED)]))
        print(timing(model, test[0]))
    return 0


def planted(part: str, share: float, most: int = 1000) -> tuple[list[str], list[str]]:
    """Return the texts and labels of a part, with the words in a share of their class's texts.

    The first `most` texts of each class are returned.
    """
    with (SAMPLE / f"{part}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row["label"]] += 1
        row["number"] = str(counts[row["label"]])
    rows = [row for row in rows if int(row["number"]) <= most]
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    for label, word in PLANTED.items():
        places = [place for place, own in enumerate(labels) if own == label]
        for place in places[: round(share * len(places))]:
            texts[place] = f"{word} {texts[place]}"
    return texts, labels


def row_of(model: Predictor, texts: Sequence[str], label: str) -> tuple[str, ...]:
    """Return the row of a class in the table."""
    word, given = PLANTED[label], texts_given(model, texts, label)
    relied = measure_reliance(model, given, label, [])
    place = [reliance.text for reliance in relied].index(word)
    other = next(reliance for reliance in relied if reliance.text != word)
    first = [
        explain(model, text, label)[SINGLE_TASK].ranked()[0].text == word
        for text in given
        if text.startswith(f"{word} ")
    ]
    return (
        label,
        word,
        f"{len(first)} of {len(given)}",
        str(place + 1),
        f"{relied[place].mean_effect:.2f}",
        f"{other.mean_effect:.2f} ({other.text})",
        f"{sum(first)} of {len(first)}",
    )


def timing(model: Predictor, texts: Sequence[str]) -> str:
    """Return the milliseconds and the number of predictions of one explanation."""
    milliseconds, sizes = [], []
    for text in texts:
        began = time.perf_counter()
        found = explain(model, text)[SINGLE_TASK]
        milliseconds.append((time.perf_counter() - began) * 1e3)
        sizes.append(len(found.words) + 1)
    middle, high = statistics.median(milliseconds), statistics.quantiles(milliseconds, n=20)[-1]
    return (
        f"one explanation: {middle:.0f} ms in the median, {high:.0f} ms at the 95th percentile, of "
        f"{statistics.median(sizes):.0f} predictions in the median, at most {max(sizes)}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
