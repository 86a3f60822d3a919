"""Dealing examples to train, validation and test: stratified, seeded, and no text in two parts."""

from __future__ import annotations

import random
from collections import defaultdict

from tokensieve.dataset import Examples
from tokensieve.errors import InputError, excerpt
from tokensieve.quality import folded
from tokensieve.settings import Split


def deal(parts: dict[str, Examples], settings: Split, seed: int, shots: int | None = None) -> tuple[dict[str, Examples], dict[str, int]]:
    """The parts train, validation and test, and the number of training rows dropped for standing in a given part.

    Given parts are kept whole, and training rows with the same folded text as one of theirs are dropped. What is not given is
    dealt from train, class by class, rows of the same folded text together. With `shots`, each class trains on that many texts
    at most, and the validation part takes no more of it either; what is left over stays unused.
    """
    kept = dict(parts)
    taken = {folded(text) for name in ("test", "validation") if name in parts for text in parts[name].texts}
    train = parts["train"]
    free = [i for i, text in enumerate(train.texts) if folded(text) not in taken]
    dropped = {"train": len(train) - len(free)}

    groups: dict[str, list[int]] = defaultdict(list)
    for i in free:
        groups[folded(train.texts[i])].append(i)
    of_class: dict[str, list[str]] = defaultdict(list)
    for text, rows in groups.items():
        of_class[train.labels[rows[0]]].append(text)

    dealt: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for label in sorted(of_class):
        texts = sorted(of_class[label])
        random.Random(f"{seed} {label}").shuffle(texts)
        tests = 0 if "test" in parts else _share(len(texts), settings.test, 2)
        checks = 0 if "validation" in parts else _share(len(texts) - tests, settings.validation, 1)
        checks = checks if shots is None else min(checks, shots)
        last = None if shots is None else tests + checks + shots
        for name, chosen in (
            ("test", texts[:tests]),
            ("validation", texts[tests : tests + checks]),
            ("train", texts[tests + checks : last]),
        ):
            dealt[name] += [i for text in chosen for i in groups[text]]
    for name, rows in dealt.items():
        if name == "train" or name not in parts:
            kept[name] = train.take(sorted(rows))
    return kept, dropped


def refuse_untrainable(parts: dict[str, Examples]) -> None:
    """Refuse parts that nothing can be trained on or judged by.

    Raises:
        InputError: validation or test is empty, or holds a class that train does not.
    """
    known = set(parts["train"].labels)
    for name in ("validation", "test"):
        if not len(parts[name]):
            raise InputError(f"no text is left for {name}: give at least 4 different texts a class, or a {name} file")
        for label in parts[name].labels:
            if label not in known:
                raise InputError(
                    f"class {excerpt(label)} of {name} has no text left to train on: its training texts stand in a given part too, "
                    "or are all the same; give it different texts"
                )


def _share(texts: int, share: float, leave: int) -> int:
    """How many of a class's texts a part gets: its share, at least one, and at least `leave` stay."""
    return max(0, min(max(1, round(texts * share)), texts - leave))
