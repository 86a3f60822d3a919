"""Split examples into train, validation and test by a hash of each text.

The part of a text depends on the normalized text, the seed and the shares, and on no other text. So
copies of a text are in one part, and a text stays in its part if rows are added or removed. Each
class gets its shares up to chance.

Labels with few texts are an exception. If a label would have no text in a part, one of its texts
moves there. It moves back once another text of the label is in that part.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from tokensieve.data.examples import Examples
from tokensieve.data.labels import class_names
from tokensieve.data.normalize import copy_key, normalize_text
from tokensieve.errors import InputError, excerpt
from tokensieve.settings import Split

SPLIT_PARTS = ("train", "validation", "test")
# The number of texts that a label needs before one of them moves to a part. Train comes first, then
# validation, then test.
MIN_TEXTS_TO_MOVE = {"test": 3, "validation": 2}


def split_examples(
    parts: Mapping[str, Examples], settings: Split, seed: int, shots: int | None = None
) -> tuple[dict[str, Examples], dict[str, int]]:
    """Return the parts train, validation and test, and the number of dropped rows by part.

    Parts that are given stay whole, and rows of train with one of their texts are dropped. The
    other parts are split from train. Copies of a text (`copy_key`) stay together.

    With `shots`, train and validation have at most that many texts per class, and the other texts
    are not used. For multi-label data, `shots` is the minimum for each label and for texts without
    a label.
    """
    kept = dict(parts)
    taken = {copy_key(text) for name in ("test", "validation") if name in parts for text in parts[name].texts}
    train = parts["train"]
    copies: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(train.texts):
        if (key := copy_key(text)) not in taken:
            copies[key].append(i)
    # Each set of copies is split by one of its texts.
    rows_of = {min(normalize_text(train.texts[i]) for i in rows): rows for rows in copies.values()}
    dropped = {"train": len(train) - sum(map(len, rows_of.values()))}

    shares = {
        name: 0.0 if name in parts else share
        for name, share in (("validation", settings.validation), ("test", settings.test))
    }
    # Texts without a label are split like the texts of one more class.
    labels = {text: class_names(train.labels[i] for i in rows) or [""] for text, rows in rows_of.items()}
    part_of = assign_parts(labels, shares, seed)
    for name in SPLIT_PARTS:
        if name == "train" or name not in parts:
            texts = [text for text, part in part_of.items() if part == name]
            if shots is not None and name != "test":
                texts = few_shot_sample(texts, labels, shots, seed)
            kept[name] = train.take(sorted(i for text in texts for i in rows_of[text]))
    return kept, dropped


def assign_parts(
    labels: Mapping[str, Sequence[str]], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Return the part of each normalized text.

    Every label has a text in train. It also has one in validation and in test if it has
    `MIN_TEXTS_TO_MOVE` texts and one of them can move.

    Args:
        labels: The labels of each text.
        shares: The share of test, and the share of validation in the rest.
        seed: The seed of the split.
    """
    draws = {text: _draws(text, seed) for text in labels}
    part_of = {text: _part(draws[text], shares) for text in labels}
    texts_of: dict[str, list[str]] = defaultdict(list)
    counts = {part: Counter[str]() for part in SPLIT_PARTS}
    for text, own in labels.items():
        counts[part_of[text]].update(own)
        for label in own:
            texts_of[label].append(text)

    def move(text: str, part: str) -> None:
        counts[part_of[text]].subtract(labels[text])
        counts[part].update(labels[text])
        part_of[text] = part

    rarest_first = sorted(texts_of, key=lambda label: (len(texts_of[label]), label))
    for label in rarest_first:
        if not counts["train"][label]:
            move(max(texts_of[label], key=lambda text: (draws[text], text)), "train")
    for place, part in enumerate(("test", "validation")):
        for label in rarest_first:
            enough = len(texts_of[label]) >= MIN_TEXTS_TO_MOVE[part]
            if not shares[part] or counts[part][label] or not enough:
                continue
            # A text can move if each of its labels has another text in the part that it leaves.
            movable = [
                text
                for text in texts_of[label]
                if all(counts[part_of[text]][own] > 1 for own in labels[text])
            ]
            if movable:
                move(min(movable, key=lambda text: (draws[text][place], text)), part)
    return part_of


def few_shot_sample(
    texts: Sequence[str], labels: Mapping[str, Sequence[str]], shots: int, seed: int
) -> list[str]:
    """Return at least `shots` of `texts` for each label, or all of them if there are fewer.

    Texts are chosen for the rarest label first, by the hash of each text. So a new text may replace
    one other text, and changes nothing else.
    """
    order = sorted(texts, key=lambda text: (_draws(text, seed)[2], text))
    texts_of: dict[str, list[str]] = defaultdict(list)
    for text in order:
        for label in labels[text]:
            texts_of[label].append(text)
    chosen: dict[str, None] = {}
    counts: Counter[str] = Counter()
    for label, own in sorted(texts_of.items(), key=lambda item: (len(item[1]), item[0])):
        for text in own:
            if counts[label] >= shots:
                break
            if text not in chosen:
                chosen[text] = None
                counts.update(labels[text])
    return list(chosen)


def check_trainable(parts: Mapping[str, Examples]) -> None:
    """Check that a model can be trained on the parts and evaluated on them.

    Raises:
        InputError: If a training text has no label, if validation or test is empty, or if one has a
            class that train lacks.
    """
    train = parts["train"]
    if not train.multi_label and not all(train.labels):
        raise InputError(
            "some rows have no label; add the labels, or leave these rows out: --set data.unlabelled=drop"
        )
    trained = set(class_names(train.labels))
    for name in ("validation", "test"):
        if not len(parts[name]):
            raise InputError(
                f"no text is left for {name}: give at least 4 different texts per class, or a {name} file"
            )
        for label in class_names(parts[name].labels):
            if label not in trained:
                raise InputError(
                    f"class {excerpt(label)} of {name} has no text left in train: its training texts are "
                    "also in a given part, or are all the same; add different texts of this class to train"
                )


def _draws(text: str, seed: int) -> tuple[float, float, float]:
    """Return three numbers in [0, 1) from a hash of the text and the seed.

    They decide about test, validation and few-shot samples.
    """
    digest = hashlib.sha256(f"{seed}\n{text}".encode("utf-8", "surrogatepass")).digest()
    first, second, third = (int.from_bytes(digest[start : start + 8]) / 2**64 for start in (0, 8, 16))
    return first, second, third


def _part(draws: tuple[float, float, float], shares: Mapping[str, float]) -> str:
    if draws[0] < shares["test"]:
        return "test"
    return "validation" if draws[1] < shares["validation"] else "train"
