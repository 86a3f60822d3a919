"""Measure how much of what is planted the audit finds: wrong labels, copies, overlapping classes.

    python -m benchmarks.studies.audit --data DIR [--tasks banking77 clinc150 nlupp] [--seeds 1]
        [--states FOLDER]

DIR has the task folders. FOLDER keeps the states for the next time.
The training texts of a task are audited as the stage does it, on the states of the frozen encoder.
Planted are, one after the other:

- wrong labels in 5% of the texts: a random other class, or the most similar class by the states;
- copies of 200 texts: half with other case and punctuation, half with one letter left out; half of
  each with a random other label;
- five pairs of overlapping classes: the texts of five classes are divided at random under two
  names.

In a multi-label task, 5% of the texts lack one of their labels, have one too many, or both, a third
each.

Nothing is known of faults that the data have anyway, which count as errors of the audit.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from benchmarks import markdown
from benchmarks.command import reports_input_errors
from benchmarks.training.tasks import SEPARATOR, is_multi_label, task_files
from tasks.auditing.audited_texts import AuditedTexts, join_labels
from tasks.auditing.judgement import Judgement, judge
from tasks.auditing.text_states import States
from tokensieve.audit.duplicate_sets import MEANING, copies_of, find_duplicates
from tokensieve.audit.near_copies import Floats, Ints
from tokensieve.audit.neighbours import SAME_MEANING, find_neighbours, unit_length
from tokensieve.data.examples import Examples
from tokensieve.data.raw_data import read_examples
from tokensieve.method.probe import StateRecorder
from tokensieve.method.vocabulary import extend_tokenizer
from tokensieve.model.batches import Inputs, tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import find_base_model, load_tokenizer
from tokensieve.settings import Settings

SHARE = 0.05  # of wrong labels
FIRST = 200  # rows that a person looks at
COPIES = 200
DIVIDED = 5  # classes
RANDOM, SIMILAR = "any other class", "the most similar class"

Row = tuple[str, ...]


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the tables. Return status 2 for invalid input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.audit", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=["banking77", "clinc150", "nlupp"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--states", type=Path, help="folder that keeps the states")
    options = parser.parse_args(arguments)
    for task in options.tasks:
        for name, texts in _audited(options.data, task):
            states = _kept_states(options.states and options.states / f"{name}.npy", texts.texts)
            print(f"{name}\n\n{_tables(texts, states, options.seeds)}\n", flush=True)
    return 0


def _audited(data: Path, task: str) -> Iterator[tuple[str, Examples]]:
    """Yield the training texts of a task, or those of each file of a multi-label task."""
    if is_multi_label(data, task):
        for name, path in task_files(data, task).items():
            yield f"{task} {name}", read_examples(path, label="labels", separator=SEPARATOR)
    else:
        yield task, read_examples(data / task / "train.csv")


def _tables(train: Examples, states: Floats, seeds: int) -> str:
    labels: list[Row] = [
        ("wrong label", "seed", "planted", "found", "precision", "recall", "P@200", "R@200", "suggested", "s")
    ]
    if train.multi_label:
        return markdown.table([*labels, *(wrong_sets(train, states, seed) for seed in range(seeds))])
    copies: list[Row] = [("seed", "copies found", "with another label found", "conflicts not planted")]
    overlaps: list[Row] = [("seed", "pairs found", "their ranks", "pairs in all")]
    for seed in range(seeds):
        labels += wrong_labels(train, states, seed)
        copies.append(planted_copies(train, states, seed))
        overlaps.append(divided_classes(train, states, seed))
    return "\n\n".join(map(markdown.table, (labels, copies, overlaps)))


def _kept_states(path: Path | None, texts: Sequence[str]) -> Floats:
    if path is not None and path.exists():
        return unit_length(np.load(path))
    states = compute_states(texts)
    if path is not None:
        np.save(path, states)
    return states


def compute_states(texts: Sequence[str]) -> Floats:
    """Return the states of texts by the default encoder, of unit length, float32 [texts, width]."""
    settings = Settings().base
    base = find_base_model(settings.model)
    with TemporaryDirectory() as folder:
        tokenizer = extend_tokenizer(load_tokenizer(base), {}, Path(folder))
        classifier = Classifier.new(base, Path(folder), settings.pooling, ["a", "b"], 0)
    inputs = Inputs(tokenize(tokenizer, texts, settings.max_length))
    with StateRecorder(classifier, (), len(texts)) as recorder:
        recorder.run(inputs, range(len(texts)))
    return unit_length(recorder.states[0].numpy())


def wrong_labels(train: Examples, states: Floats, seed: int) -> Iterator[Row]:
    """Yield how many planted wrong labels are found, for both ways to choose the wrong label."""
    names = sorted({label for (label,) in train.labels})
    given = np.array([names.index(label) for (label,) in train.labels])
    random = np.random.default_rng(seed)
    changed = random.choice(len(given), round(SHARE * len(given)), replace=False)
    centres = unit_length(np.stack([states[given == i].mean(0) for i in range(len(names))]))
    likeness = centres @ centres.T
    np.fill_diagonal(likeness, -1)
    others = {
        RANDOM: (given[changed] + random.integers(1, len(names), len(changed))) % len(names),
        SIMILAR: likeness.argmax(1)[given[changed]],
    }
    for kind, labels in others.items():
        planted = given.copy()
        planted[changed] = labels
        start = time.perf_counter()
        judgement = _judged(train.texts, [(names[i],) for i in planted], states, seed)
        seconds = time.perf_counter() - start
        wrong = planted != given
        right = [names[given[own.text]] == own.suggested for own in judgement.suspects if wrong[own.text]]
        yield (kind, str(seed), *_found(judgement, wrong, right), f"{seconds:.0f}")


def wrong_sets(texts: Examples, states: Floats, seed: int) -> Row:
    """Return how many planted wrong sets of labels are found."""
    names = sorted({label for labels in texts.labels for label in labels})
    random = np.random.default_rng(seed)
    planted = [set(labels) for labels in texts.labels]
    for number, text in enumerate(random.choice(len(planted), round(SHARE * len(planted)), replace=False)):
        own = planted[text]
        other = random.choice([name for name in names if name not in own])
        if own and number % 3 < 2:
            own.remove(random.choice(sorted(own)))
        if number % 3 > 0 or not texts.labels[text]:
            own.add(other)
    labels = [tuple(sorted(own)) for own in planted]
    start = time.perf_counter()
    judgement = _judged(texts.texts, labels, states, seed)
    seconds = time.perf_counter() - start
    given = [tuple(sorted(own)) for own in texts.labels]
    wrong = np.array([own != right for own, right in zip(labels, given, strict=True)])
    right = [join_labels(given[own.text]) == own.suggested for own in judgement.suspects if wrong[own.text]]
    return "a label less, more or both", str(seed), *_found(judgement, wrong, right), f"{seconds:.0f}"


def _found(judgement: Judgement, wrong: npt.NDArray[np.bool_], right: Sequence[bool]) -> Row:
    """Return the numbers planted and found, and the shares: `right` has the right suggestions."""
    found = np.array([suspect.text for suspect in judgement.suspects], np.int64)
    shares = (
        wrong[found].mean(),
        wrong[found].sum() / wrong.sum(),
        wrong[found[:FIRST]].mean(),
        wrong[found[:FIRST]].sum() / wrong.sum(),
        np.mean(right),
    )
    return f"{wrong.sum():,}", f"{len(found):,}", *(f"{share:.1%}" for share in shares)


def planted_copies(train: Examples, states: Floats, seed: int) -> Row:
    """Return how many planted copies are found in a set with their text, and how many conflicts."""
    random = np.random.default_rng(seed)
    names = sorted({label for (label,) in train.labels})
    long = [i for i, text in enumerate(train.texts) if len(text) >= 30]
    sources = random.choice(long, COPIES, replace=False).tolist()
    texts, labels = list(train.texts), [label for (label,) in train.labels]
    for number, source in enumerate(sources):
        text, place = train.texts[source], int(random.integers(1, len(train.texts[source]) - 1))
        texts.append(f"{text.upper()} !" if number % 2 else text[:place] + text[place + 1 :])
        other = names[(names.index(labels[source]) + int(random.integers(1, len(names)))) % len(names)]
        labels.append(other if number % 4 < 2 else labels[source])
    different, own = copies_of(texts)
    first = np.unique(own[: len(states)], return_index=True)[1]
    pairs, cosines = find_neighbours(states[first], seed).pairs(SAME_MEANING)
    meaning = own[first][pairs], cosines
    parts = ["train"] * len(texts)
    sets = [
        found
        for found in find_duplicates(different, own, [(label,) for label in labels], parts, meaning)
        if found.kind != MEANING
    ]
    set_of = {member: found for found in sets for member in found.members}
    together = [
        source in set_of and set_of[source] is set_of.get(len(train) + number)
        for number, source in enumerate(sources)
    ]
    conflicting = [number for number in range(COPIES) if number % 4 < 2]
    noticed = sum(together[number] and set_of[sources[number]].conflict for number in conflicting)
    before = sum(found.conflict and max(found.members) < len(train) for found in sets)
    shown = f"{sum(together)} of {COPIES}", f"{noticed} of {len(conflicting)}"
    return str(seed), *shown, str(before)


def divided_classes(train: Examples, states: Floats, seed: int) -> Row:
    """Return how many of the classes that are divided under two names are found to overlap."""
    random = np.random.default_rng(seed)
    names = sorted({label for (label,) in train.labels})
    divided = set(random.choice(names, DIVIDED, replace=False).tolist())
    labels = [
        f"{label} B" if label in divided and random.random() < 0.5 else label for (label,) in train.labels
    ]
    overlaps = _judged(train.texts, [(label,) for label in labels], states, seed).overlaps
    ranks = [
        rank
        for rank, pair in enumerate(overlaps, 1)
        if f"{min(pair.first, pair.second)} B" in labels
        and max(pair.first, pair.second) == f"{min(pair.first, pair.second)} B"
    ]
    return str(seed), f"{len(ranks)} of {DIVIDED}", ", ".join(map(str, ranks)), str(len(overlaps))


def _judged(texts: Sequence[str], labels: Sequence[Row], states: Floats, seed: int) -> Judgement:
    multi_label = any(len(names) != 1 for names in labels)
    found = AuditedTexts(texts=list(texts), labels=list(labels), multi_label=multi_label)
    own: Ints = copies_of(texts)[1]
    return judge(found, States(np.arange(len(texts)), states), own, seed)


if __name__ == "__main__":
    raise SystemExit(main())
