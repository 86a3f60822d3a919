"""Split examples into train, validation and test by class, as for all published results.

The pipeline splits by the hash of a text (`tokensieve.data.split`), so that parts are stable if the
data grow. The data of a benchmark do not grow, and its samples must stay those of the published
results.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from tokensieve.data.examples import Examples
from tokensieve.data.labels import class_names
from tokensieve.data.normalize import normalize_text
from tokensieve.settings import Split

PARTS = ("train", "validation", "test")


def draw_parts(
    parts: dict[str, Examples],
    settings: Split,
    seed: int,
    shots: int | None = None,
) -> tuple[dict[str, Examples], dict[str, int]]:
    """Return the parts train, validation and test, and the number of dropped rows by part.

    Parts that are given stay whole, and rows of train with one of their texts are dropped. The
    other parts are split from train, class by class. Rows with the same normalized text stay
    together. With `shots`, train and validation have at most that many texts per class, and the
    other texts are not used. For multi-label data, `shots` is the minimum for each label and for
    texts without a label.
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
        drawn = _by_class(
            {text: "".join(train.labels[rows[0]]) for text, rows in groups.items()}, wanted, seed, shots
        )
    else:
        labels = {text: _labels(train, rows) for text, rows in groups.items()}
        drawn = _by_labels(labels, wanted, seed)
        if shots is not None:
            drawn = {
                name: texts if name == "test" else few_shot_sample(texts, labels, shots, seed)
                for name, texts in drawn.items()
            }
    for name in PARTS:
        if name == "train" or name not in parts:
            kept[name] = train.take(sorted(i for text in drawn[name] for i in groups[text]))
    return kept, dropped


def few_shot_sample(
    texts: Sequence[str], labels: Mapping[str, Sequence[str]], shots: int, seed: int
) -> list[str]:
    """Return at least `shots` of `texts` for each label, or all of them if there are fewer.

    Texts are chosen for the rarest label first.
    """
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
    """Return the texts of single-label data by part."""
    of_class: dict[str, list[str]] = defaultdict(list)
    for text, label in label_of.items():
        of_class[label].append(text)
    drawn: dict[str, list[str]] = {name: [] for name in PARTS}
    for label in sorted(of_class):
        texts = sorted(of_class[label])
        random.Random(f"{seed} {label}").shuffle(texts)
        tests, checks = _sizes(len(texts), wanted)
        checks = checks if shots is None else min(checks, shots)
        last = None if shots is None else tests + checks + shots
        drawn["test"] += texts[:tests]
        drawn["validation"] += texts[tests : tests + checks]
        drawn["train"] += texts[tests + checks : last]
    return drawn


def _by_labels(
    labels: Mapping[str, Sequence[str]], wanted: Mapping[str, float], seed: int
) -> dict[str, list[str]]:
    """Return the texts of multi-label data by part: iterative stratification.

    The source is Sechidis et al. 2011, algorithm 1. The rarest label among the remaining texts
    comes first. Each of its texts goes to the part that lacks most texts of this label. The number
    of texts of a label in a part is computed as for classes, so that validation and test have rare
    labels if possible.
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
            # The numbers of the label add up to its remaining texts. So some part lacks a text, and
            # it is not a given part, because these lack none.
            part = max(PARTS, key=lambda name: (lacks[rarest][name], room[name]))
            part_of[text] = part
            room[part] -= 1
            for label in labels[text]:
                lacks[label][part] -= 1
                left[label] -= 1
        del left[rarest]
    # All texts of a label may have been assigned for rarer labels, and none to train. Every label
    # needs a text there.
    for texts in holding.values():
        if all(part_of[text] != "train" for text in texts):
            part_of[texts[0]] = "train"
    return {name: [text for text, part in part_of.items() if part == name] for name in PARTS}


def _labels(train: Examples, rows: Sequence[int]) -> list[str]:
    """Return all labels of the rows of one text.

    Texts without a label are split like the texts of one more label, "".
    """
    return class_names(train.labels[i] for i in rows) or [""]


def _holding(texts: Sequence[str], labels: Mapping[str, Sequence[str]], seed: int) -> dict[str, list[str]]:
    """Return the texts with each label. Labels are sorted, texts are shuffled with `seed`."""
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
    """Return the number of texts of a label that each part should have."""
    tests, checks = _sizes(texts, wanted)
    return {"train": texts - tests - checks, "validation": checks, "test": tests}


def _sizes(texts: int, wanted: Mapping[str, float]) -> tuple[int, int]:
    """Return the number of texts of a class in test and in validation."""
    tests = _share(texts, wanted["test"], 2)
    return tests, _share(texts - tests, wanted["validation"], 1)


def _share(texts: int, share: float, leave: int) -> int:
    """Return the number of texts of a class in a part.

    It is the share of the texts, and at least one if `share` is not 0. At least `leave` texts of
    the class remain.
    """
    return max(0, min(max(1, round(texts * share)), texts - leave)) if share else 0
