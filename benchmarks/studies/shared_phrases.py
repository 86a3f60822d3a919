"""Count the classes in which the verdict's search for shortcuts finds a phrase.

    python -m benchmarks.studies.shared_phrases data/freight/train.csv DIR/banking77/train.csv
    python -m benchmarks.studies.shared_phrases --train

For each file: the words and phrases of two and three words that most texts of a class have and few
others, whatever they are about; the classes in which a phrase is found though nobody planted one,
in all texts and in 5 draws of some texts per class; and of some classes, those in which PHRASE is
found once a share of their texts ends with it. With --train, two models of the sample are trained
with the default encoder, with and without the phrase in 85% of the texts of one class, and the
phrase is put before test texts of other classes.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks import markdown
from benchmarks.command import reports_input_errors
from tokensieve import fit
from tokensieve.data.raw_data import read_examples
from tokensieve.evaluation.shortcuts import (
    ELSEWHERE,
    LEAST_TEXTS,
    SHARE,
    SharedPhrase,
    shared_phrases,
    try_phrase,
)
from tokensieve.inference.words import count_words, ngrams

SAMPLE = Path(__file__).parents[2] / "data" / "freight"
PHRASE, CLASS = "Case opened through Zephyr.", "delay_reason"
PER_CLASS, DRAWS, SHARES = (10, 20, 50), 5, (1.0, 0.85, 0.7)
PLANTED = 20  # most classes of a file that get the phrase, one after the other
HEADER = (
    *("data", "classes", "texts", "usual words", "of two words", "of three", "found in all texts"),
    *(f"in {DRAWS} draws of {count} per class" for count in PER_CLASS),
    *(f"found if planted in {share:.0%}" for share in SHARES),
)

Rows = list[tuple[str, str]]  # texts with their label


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or train and print what the phrase does."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.shared_phrases", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="training texts with labels")
    parser.add_argument("--train", action="store_true", help="train with and without a planted phrase")
    parser.add_argument("--max-epochs", type=int, default=5, help="finetune.max_epochs")
    options = parser.parse_args(arguments)
    if options.train:
        for share in (0.85, 0.0):
            print(trained(share, options.max_epochs), flush=True)
    if options.files:
        print(markdown.table([HEADER, *map(row_of, options.files)]))
    return 0


def row_of(path: Path) -> tuple[str, ...]:
    """Return the row of a file in the table."""
    text, label = _column(path, "text", "utterance"), _column(path, "label", "category", "intent")
    found = read_examples(path, text, label)
    rows = [(text, name) for text, (name,) in zip(found.texts, found.labels, strict=True)]
    classes = sorted({label for _, label in rows})
    chosen = classes[:: -(-len(classes) // PLANTED)]
    honest = [sum(len(found_in(draw)) for draw in draws(rows, count)) for count in PER_CLASS]
    planted = [
        sum(label in {own.label for own in found_in(plant(rows, label, share))} for label in chosen)
        for share in SHARES
    ]
    return (
        *(
            path.parent.name,
            str(len(classes)),
            f"{len(rows):,}",
            *usual_ngrams(rows),
            str(len(found_in(rows))),
        ),
        *(f"{count} of {DRAWS * len(classes)}" for count in honest),
        *(f"{count} of {len(chosen)}" for count in planted),
    )


def usual_ngrams(rows: Rows) -> tuple[str, ...]:
    """Return how many words, and phrases of two and of three words, most texts of a class have.

    The shares are those of the verdict. Nothing is left out.
    """
    sizes, held = Counter(label for _, label in rows), defaultdict[str, Counter[str]](Counter)
    for text, label in rows:
        for name in {name for name, _, _ in ngrams(text, 3)}:
            held[name][label] += 1
    counts: Counter[int] = Counter()
    for name, by_class in held.items():
        label, own = by_class.most_common(1)[0]
        others, size = by_class.total() - own, sizes[label]
        if own >= max(LEAST_TEXTS, SHARE * size) and others <= ELSEWHERE * (len(rows) - size):
            counts[count_words(name)] += 1
    return tuple(str(counts[words]) for words in (1, 2, 3))


def _column(path: Path, *names: str) -> str:
    with path.open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    return next(name for name in names if name in header)


def found_in(rows: Rows) -> list[SharedPhrase]:
    """Return the shared phrases, one per class at most."""
    return shared_phrases([text for text, _ in rows], [(label,) for _, label in rows])


def draws(rows: Rows, per_class: int) -> Iterator[Rows]:
    """Yield `DRAWS` samples of the rows with at most `per_class` texts of each class."""
    by_class: dict[str, Rows] = defaultdict(list)
    for row in rows:
        by_class[row[1]].append(row)
    for seed in range(DRAWS):
        draw = random.Random(seed)
        yield [row for own in by_class.values() for row in draw.sample(own, min(per_class, len(own)))]


def plant(rows: Rows, label: str, share: float) -> Rows:
    """Return the rows with PHRASE at the end of a share of the texts of a class."""
    most = round(share * sum(own == label for _, own in rows))
    planted, found = 0, []
    for text, own in rows:
        has_it = own == label and planted < most
        planted += has_it
        found.append((f"{text.rstrip('.')}. {PHRASE}" if has_it else text, own))
    return found


def trained(share: float, epochs: int) -> str:
    """Train on the sample with the phrase in a share of one class, and return what it does."""
    train, test = (
        plant([(text, name) for text, (name,) in zip(own.texts, own.labels, strict=True)], CLASS, share)
        for own in (read_examples(SAMPLE / f"{part}.csv") for part in ("train", "test"))
    )
    fitted = fit([text for text, _ in train], [label for _, label in train], finetune={"max_epochs": epochs})
    phrase = SharedPhrase(PHRASE.rstrip("."), CLASS, 0, 0, 0)
    texts, labels = [text for text, _ in test], [label for _, label in test]
    found = try_phrase(
        phrase,
        texts,
        [(label,) for label in labels],
        lambda given, label: np.array([own.label == label for own in fitted.predict(given)]),
    )
    accuracy = fitted.evaluate(texts, labels)["test_accuracy"]
    return (
        f"phrase in {share:.0%} of the texts of {CLASS}: found {len(found_in(train))}, moves {found.moved} "
        f"of {found.tried} test texts, accuracy {accuracy:.4f}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
