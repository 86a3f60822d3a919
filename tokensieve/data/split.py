"""Deal examples to train, validation and test by the hash of each text, so that a text stays in its part while the data change.

A text's part depends on its folded text, the seed and the shares, and on no other text. So a class has its shares up to chance, copies
of a text are together, and neither new rows nor removed ones move a text. The exception are labels of few texts: if a label would have
no text in a part, one of its texts is lent to that part. It goes back when the label has a text of its own there.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from tokensieve.data.examples import Examples
from tokensieve.data.labels import class_names
from tokensieve.data.quality import normalize_text
from tokensieve.errors import InputError, excerpt
from tokensieve.settings import Split

SPLIT_PARTS = ("train", "validation", "test")
# Texts that a label must have to lend one to the part: training comes first, then validation, then test.
MIN_TEXTS_TO_MOVE = {"test": 3, "validation": 2}


def split_examples(
    parts: dict[str, Examples],
    settings: Split,
    seed: int,
    shots: int | None = None,
    separator: str | None = None,
) -> tuple[dict[str, Examples], dict[str, int]]:
    """The parts train, validation and test, and the number of training rows dropped for standing in a given part.

    Given parts are kept whole, and training rows with the same folded text as one of theirs are dropped. What is not given is
    dealt from train, rows of the same folded text together. With `shots`, train and validation have that many texts of each class at
    most; what is left over stays unused.

    With `separator`, texts have any number of labels, and `shots` is the least: so many texts of each label, if there are, and
    so many without a label.
    """
    kept = dict(parts)
    taken = {
        normalize_text(text) for name in ("test", "validation") if name in parts for text in parts[name].texts
    }
    train = parts["train"]
    free = [i for i, text in enumerate(train.texts) if normalize_text(text) not in taken]
    dropped = {"train": len(train) - len(free)}

    groups: dict[str, list[int]] = defaultdict(list)
    for i in free:
        groups[normalize_text(train.texts[i])].append(i)
    shares = {
        name: 0.0 if name in parts else share
        for name, share in (("validation", settings.validation), ("test", settings.test))
    }
    labels = {text: _labels(train, rows, separator) for text, rows in groups.items()}
    part_of = assign_parts(labels, shares, seed)
    for name in SPLIT_PARTS:
        if name == "train" or name not in parts:
            texts = [text for text, part in part_of.items() if part == name]
            if shots is not None and name != "test":
                texts = few_shot_sample(texts, labels, shots, seed)
            kept[name] = train.take(sorted(i for text in texts for i in groups[text]))
    return kept, dropped


def assign_parts(
    labels: Mapping[str, Sequence[str]], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Return the part of each folded text. `labels` holds the labels of each, `shares` those of test, and of validation in what is left.

    Every label has a text in train; and one in validation and in test if it has as many texts as `LENDS` states, and these can spare one.
    """
    draws = {text: _draws(text, seed) for text in labels}
    part_of = {text: _part(draws[text], shares) for text in labels}
    holding: dict[str, list[str]] = defaultdict(list)
    counts = {part: Counter[str]() for part in SPLIT_PARTS}
    for text, own in labels.items():
        counts[part_of[text]].update(own)
        for label in own:
            holding[label].append(text)

    def lend(text: str, part: str) -> None:
        counts[part_of[text]].subtract(labels[text])
        counts[part].update(labels[text])
        part_of[text] = part

    rarest_first = sorted(holding, key=lambda label: (len(holding[label]), label))
    for label in rarest_first:
        if not counts["train"][label]:
            lend(max(holding[label], key=lambda text: (draws[text], text)), "train")
    for part, (place, least) in {
        "test": (0, MIN_TEXTS_TO_MOVE["test"]),
        "validation": (1, MIN_TEXTS_TO_MOVE["validation"]),
    }.items():
        for label in rarest_first:
            if not shares[part] or counts[part][label] or len(holding[label]) < least:
                continue
            spare = [
                text for text in holding[label] if all(counts[part_of[text]][own] > 1 for own in labels[text])
            ]
            if spare:
                lend(min(spare, key=lambda text: (draws[text][place], text)), part)
    return part_of


def few_shot_sample(
    texts: Sequence[str], labels: Mapping[str, Sequence[str]], shots: int, seed: int
) -> list[str]:
    """Of `texts`, whose labels are `labels`, at least `shots` with each label, or all there are: the rarest label first.

    Which they are follows from their hashes: a new text can take the place of another, and leaves the rest.
    """
    order = sorted(texts, key=lambda text: (_draws(text, seed)[2], text))
    holding: dict[str, list[str]] = defaultdict(list)
    for text in order:
        for label in labels[text]:
            holding[label].append(text)
    chosen: dict[str, None] = {}
    counts: Counter[str] = Counter()
    for label, held in sorted(holding.items(), key=lambda item: (len(item[1]), item[0])):
        for text in held:
            if counts[label] >= shots:
                break
            if text not in chosen:
                chosen[text] = None
                counts.update(labels[text])
    return list(chosen)


def check_trainable(parts: dict[str, Examples], separator: str | None = None) -> None:
    """Refuse parts that nothing can be trained on or judged by.

    Raises:
        InputError: a training text has no label, or validation or test is empty, or holds a class that train does not.
    """
    known = set(class_names(parts["train"].labels, separator))
    if "" in known:
        raise InputError(
            "some rows have no label; add the labels, or leave these rows out: --set data.unlabelled=drop"
        )
    for name in ("validation", "test"):
        if not len(parts[name]):
            raise InputError(
                f"no text is left for {name}: give at least 4 different texts a class, or a {name} file"
            )
        for label in class_names(parts[name].labels, separator):
            if label not in known:
                raise InputError(
                    f"class {excerpt(label)} of {name} has no text left to train on: its training texts stand in a given part too, "
                    "or are all the same; give it different texts"
                )


def _draws(text: str, seed: int) -> tuple[float, float, float]:
    """Three numbers from 0 to 1 that follow from a folded text and the seed: for test, for validation, for few shots."""
    digest = hashlib.sha256(f"{seed}\n{text}".encode("utf-8", "surrogatepass")).digest()
    first, second, third = (int.from_bytes(digest[start : start + 8]) / 2**64 for start in (0, 8, 16))
    return first, second, third


def _part(draws: tuple[float, float, float], shares: Mapping[str, float]) -> str:
    return (
        "test" if draws[0] < shares["test"] else "validation" if draws[1] < shares["validation"] else "train"
    )


def _labels(train: Examples, rows: Sequence[int], separator: str | None) -> list[str]:
    """All labels of the rows of one text; texts without any are dealt like those of a label of their own, which is empty."""
    return class_names((train.labels[i] for i in rows), separator) or [""]
