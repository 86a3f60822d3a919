"""Deal examples to train, validation and test as the published results have them: stratified and drawn anew for each data set.

The pipeline deals by the hash of a text (`tokensieve.data.split`), so that parts stay as data grow. A benchmark's data do not grow, and its
samples must stay those that all results were measured on.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from tokensieve.data.examples import Examples
from tokensieve.data.labels import class_names
from tokensieve.data.normalize import normalize_text
from tokensieve.settings import Split

DEALT = ("train", "validation", "test")


def deal(
    parts: dict[str, Examples],
    settings: Split,
    seed: int,
    shots: int | None = None,
) -> tuple[dict[str, Examples], dict[str, int]]:
    """The parts train, validation and test, and the number of training rows dropped for standing in a given part.

    Given parts are kept whole, and training rows with the same folded text as one of theirs are dropped. What is not given is
    dealt from train, class by class, rows of the same folded text together. With `shots`, each class trains on that many texts
    at most, and the validation part takes no more of it either; what is left over stays unused.

    In multi-label data, `shots` is the minimum for each label, and for texts without a label.
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
    wanted = {
        name: 0.0 if name in parts else share
        for name, share in (("validation", settings.validation), ("test", settings.test))
    }
    if not train.multi_label:
        dealt = _by_class(
            {text: "".join(train.labels[rows[0]]) for text, rows in groups.items()}, wanted, seed, shots
        )
    else:
        labels = {text: _labels(train, rows) for text, rows in groups.items()}
        dealt = _by_labels(labels, wanted, seed)
        if shots is not None:
            dealt = {
                name: texts if name == "test" else few(texts, labels, shots, seed)
                for name, texts in dealt.items()
            }
    for name in DEALT:
        if name == "train" or name not in parts:
            kept[name] = train.take(sorted(i for text in dealt[name] for i in groups[text]))
    return kept, dropped


def few(texts: Sequence[str], labels: Mapping[str, Sequence[str]], shots: int, seed: int) -> list[str]:
    """Of `texts`, whose labels are `labels`, at least `shots` with each label, or all there are: the rarest label first."""
    chosen: dict[str, None] = {}
    counts: Counter[str] = Counter()
    for label, holding in sorted(
        _holding(texts, labels, seed).items(), key=lambda item: (len(item[1]), item[0])
    ):
        for text in holding:
            if counts[label] >= shots:
                break
            if text not in chosen:
                chosen[text] = None
                counts.update(labels[text])
    return list(chosen)


def _by_class(
    label_of: Mapping[str, str], wanted: Mapping[str, float], seed: int, shots: int | None
) -> dict[str, list[str]]:
    """The texts, each of one class, by part."""
    of_class: dict[str, list[str]] = defaultdict(list)
    for text, label in label_of.items():
        of_class[label].append(text)
    dealt: dict[str, list[str]] = {name: [] for name in DEALT}
    for label in sorted(of_class):
        texts = sorted(of_class[label])
        random.Random(f"{seed} {label}").shuffle(texts)
        tests, checks = _sizes(len(texts), wanted)
        checks = checks if shots is None else min(checks, shots)
        last = None if shots is None else tests + checks + shots
        dealt["test"] += texts[:tests]
        dealt["validation"] += texts[tests : tests + checks]
        dealt["train"] += texts[tests + checks : last]
    return dealt


def _by_labels(
    labels: Mapping[str, Sequence[str]], wanted: Mapping[str, float], seed: int
) -> dict[str, list[str]]:
    """The texts, each of several labels, by part: iterative stratification (Sechidis et al. 2011, algorithm 1).

    The rarest label among the texts left is dealt first, each of its texts to the part that lacks most of the label. What a part
    is to have of a label is counted as for classes, so that rare ones are met in validation and test where that is possible.
    """
    holding = _holding(list(labels), labels, seed)
    lacks = {label: _lacking(len(texts), wanted) for label, texts in holding.items()}
    room = _lacking(len(labels), wanted)
    left = Counter({label: len(texts) for label, texts in holding.items()})
    part_of: dict[str, str] = {}
    while left:
        rarest = min(left, key=lambda label: (left[label], label))
        for text in holding[rarest]:
            if text in part_of:
                continue
            # The label's numbers add up to its texts left, so some part lacks one: never a given part, which lacks none.
            part = max(DEALT, key=lambda name: (lacks[rarest][name], room[name]))
            part_of[text] = part
            room[part] -= 1
            for label in labels[text]:
                lacks[label][part] -= 1
                left[label] -= 1
        del left[rarest]
    # A label whose texts were all dealt for the sake of rarer ones may have missed train: without a text there, nothing learns it.
    for texts in holding.values():
        if all(part_of[text] != "train" for text in texts):
            part_of[texts[0]] = "train"
    return {name: [text for text, part in part_of.items() if part == name] for name in DEALT}


def _labels(train: Examples, rows: Sequence[int]) -> list[str]:
    """All labels of the rows of one text; texts without any are dealt like those of a label of their own, which is empty."""
    return class_names(train.labels[i] for i in rows) or [""]


def _holding(texts: Sequence[str], labels: Mapping[str, Sequence[str]], seed: int) -> dict[str, list[str]]:
    """The texts with each label, the labels sorted, the texts in an order that `seed` decides."""
    shuffled = sorted(texts)
    random.Random(seed).shuffle(shuffled)
    holding: dict[str, list[str]] = {
        label: [] for label in sorted({label for text in texts for label in labels[text]})
    }
    for text in shuffled:
        for label in labels[text]:
            holding[label].append(text)
    return holding


def _lacking(texts: int, wanted: Mapping[str, float]) -> dict[str, int]:
    """How many of a label's texts each part is to have."""
    tests, checks = _sizes(texts, wanted)
    return {"train": texts - tests - checks, "validation": checks, "test": tests}


def _sizes(texts: int, wanted: Mapping[str, float]) -> tuple[int, int]:
    """How many of a class's texts test and validation get."""
    tests = _share(texts, wanted["test"], 2)
    return tests, _share(texts - tests, wanted["validation"], 1)


def _share(texts: int, share: float, leave: int) -> int:
    """How many of a class's texts a part gets: its share, at least one if it has any, and at least `leave` stay."""
    return max(0, min(max(1, round(texts * share)), texts - leave)) if share else 0
