"""The quality of labelled texts: one number a row for each check, and the range in which the check wants it.

Texts are the same when they are the same folded. Empty texts fail `empty`, empty labels `unlabelled`; both are left out of the
comparisons. In multi-label data having no label is no fault, and a class is one of the labels.
Not here: whether a text means what its label says, and any change to the data.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tokensieve.data.examples import Examples
from tokensieve.data.labels import names_of
from tokensieve.settings import Validate

# Control characters but tab, line feed and carriage return, and lone surrogates: UTF-8 cannot hold these, nor can a tokenizer.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

# What a UTF-8 byte from 0x80 to 0xBF becomes when it is read as Latin-1 or Windows-1252.
_TAIL = "\xa0-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_CAPITALS = "A-ZÀ-ÞĀ-ỿ"
_BROKEN = re.compile(
    "|".join(
        [
            # Latin-1's own control characters (0x80 to 0x9F) are never meant: they are bytes of UTF-8 or Windows-1252.
            "[\ufffd\ud800-\udfff\x80-\x9f]",
            # Ã and Â end words in capitals ("AMANHÃ…", "«ROMÂ»"), so before closing punctuation they may be real.
            "Ã[€‚ƒ„†‡ˆ‰Š‹ŒŽ‘•˜š›œžŸ¡-º¼-¿]",
            "Â[¡-º¼-¿]",
            f"(?<![{_CAPITALS}])[ÃÂ][\xa0»]",
            f"(?<![{_CAPITALS}])[ÃÄÅ][…–—’“”™›](?=[a-z])",
            # Polish and Czech letters. ², ± and · are left out: they follow the Å of a unit.
            "[ÄÅ][‚ƒ„†‡ˆ‰Š‹ŒšœžŸ¡¢¤-ªµ¶¸º¼-¾]",
            # Quotes, dashes, the euro sign, arrows and other symbols; emoji; a byte order mark; U+FFFD itself.
            f"â[€‚„†ˆ‰Œ˜œ][{_TAIL}]",
            "ðŸ",
            "ï»¿|ï¿½",
            # Other scripts: one pair may be a letter and a sign, two on end are not.
            f"(?:[Â-ß][{_TAIL}]){{2}}",
            f"(?:[à-ï][{_TAIL}]{{2}}){{2}}",
        ]
    )
)


@dataclass(frozen=True)
class Rule:
    """The range of a check's numbers, None for no limit, and the words for rows inside and outside of it."""

    low: int | None
    high: int | None
    holds: str
    fails: str
    remedy: str
    unit: str = "row"


def rules(limits: Validate, part: str) -> dict[str, Rule]:
    """The rule of every check that `measures` has numbers for."""
    longest, least = limits.max_characters, limits.min_examples_per_class
    known = Rule(
        1,
        None,
        "no label without examples in train",
        "without an example in train",
        "add some, mend the labels or remove the rows",
        "class",
    )
    new = Rule(
        1,
        None,
        "no label new to the champion",
        "new to the champion",
        "mend the labels, unless the classes are meant",
        "class",
    )
    return {
        "empty": Rule(None, 0, "no empty text", "with an empty text", "fill them in or remove the rows"),
        "unlabelled": Rule(
            None,
            0,
            "a label in every row",
            "without a label",
            "add the labels, or leave these rows out: --set data.unlabelled=drop",
        ),
        "overlong": Rule(
            None,
            longest,
            f"at most {longest:,} characters a text",
            f"with more than {longest:,} characters",
            "cut the texts, remove the rows or raise validate.max_characters",
        ),
        "control": Rule(
            None,
            0,
            "no control characters",
            "with control characters or lone surrogates",
            "remove these characters",
        ),
        "encoding": Rule(
            None,
            0,
            "no broken encoding",
            "with broken encoding, as 'Ã©' for 'é'",
            "write the file from its source again as UTF-8",
        ),
        "class_size": Rule(
            least,
            None,
            f"at least {least:,} examples a class",
            f"with fewer than {least:,} examples",
            "add examples, merge or remove the classes, or lower validate.min_examples_per_class (at least 2)",
            "class",
        ),
        "duplicate": Rule(None, 0, "no text twice", "with the text of an earlier row", "remove the copies"),
        "conflict": Rule(
            None,
            1,
            "every text labelled in one way",
            "with a text that is labelled otherwise elsewhere",
            "keep one of them",
        ),
        "leak": Rule(
            None,
            0,
            "no text of train",
            "with a text that is in train too",
            "the split takes it out of train; to pass, remove it from one of them",
        ),
        "unknown_label": new if part == "train" else known,
        "vanished_label": Rule(
            1,
            None,
            "every label of the champion",
            "of the champion without an example",
            "add some, unless the class is meant to go",
            "class",
        ),
        "truncated": Rule(
            None,
            0,
            "no text truncated",
            "truncated",
            "raise base.max_length or set base.truncation=head_tail",
        ),
    }


def measure_rows(
    part: str, examples: Mapping[str, Examples], champion: Collection[str], separator: str | None = None
) -> dict[str, Sequence[int | None]]:
    """The numbers of one part, by check; `champion` holds the labels of the model in use, none before the first.

    Duplicates count in train only, since a test may repeat texts as its users do; leaks in test only. With `separator`, texts have
    any number of labels; the numbers of classes are then not among these, but those of `class_measures`.
    """
    own, train = examples[part], examples.get("train")
    cells = (
        [f"{text}\n{label}" for text, label in zip(own.texts, own.labels, strict=True)]
        if own.labels
        else own.texts
    )
    numbers: dict[str, Sequence[int | None]] = {
        "empty": mark_empty(own.texts),
        "overlong": [len(text) for text in own.texts],
        "control": [count_control_characters(cell) for cell in cells],
        "encoding": [count_broken_sequences(cell) for cell in cells],
    }
    if own.labels and separator is None:
        numbers["unlabelled"] = mark_empty(own.labels)
    if own.labels:
        numbers["conflict"] = count_labels_of_text(own.texts, own.labels, none=separator is not None)
    if part == "train":
        numbers["duplicate"] = count_earlier_copies(own.texts)
    if part == "test" and train:
        numbers["leak"] = count_copies_in(own.texts, train.texts)
    if separator is None:
        numbers |= measure_classes(part, own.labels, train.labels if train else (), champion)
    return numbers


def measure_classes(
    part: str, labels: Sequence[str], trained: Collection[str], champion: Collection[str]
) -> dict[str, Sequence[int | None]]:
    """The numbers of the classes of one part, by check, on the first of its `labels` with each; `trained` holds the labels of train."""
    numbers: dict[str, Sequence[int | None]] = {"class_size": class_sizes(labels)} if part == "train" else {}
    known = champion if part == "train" else trained if labels else ()
    if known:
        numbers["unknown_label"] = mark_known_labels(labels, known)
    return numbers


def one_row_per_label(examples: Examples, separator: str) -> Examples:
    """One example for each label of each text, with the text's own row."""
    names = [names_of(label, separator) for label in examples.labels]
    repeated = examples.take([i for i, own in enumerate(names) for _ in own])
    return Examples(repeated.texts, [name for own in names for name in own], repeated.rows)


def normalize_text(text: str) -> str:
    """`text` as texts are compared: stripped and lower-cased."""
    return text.strip().lower()


def mark_empty(cells: Sequence[str]) -> list[int]:
    """Return 1 for each cell that is empty or blank, 0 for the others."""
    return [int(not cell.strip()) for cell in cells]


def count_control_characters(text: str) -> int:
    """Control characters and lone surrogates in `text`; tab and line ends are not counted."""
    return len(_CONTROL.findall(text))


def count_broken_sequences(text: str) -> int:
    """Traces of a wrong encoding in `text`: U+FFFD, lone surrogates, UTF-8 that was read as Latin-1 or Windows-1252."""
    return 0 if text.isascii() else len(_BROKEN.findall(text))


def count_earlier_copies(texts: Sequence[str]) -> list[int]:
    """Rows further up with the same text: 0 for the first of them."""
    seen: Counter[str] = Counter()
    copies = []
    for key in map(normalize_text, texts):
        copies.append(seen[key] if key else 0)
        seen[key] += 1
    return copies


def count_labels_of_text(texts: Sequence[str], labels: Sequence[str], none: bool = False) -> list[int]:
    """How many labels, or sets of them, the row's text has in all rows together; with `none`, the empty one counts as well."""
    keys = [normalize_text(text) for text in texts]
    found: defaultdict[str, set[str]] = defaultdict(set)
    for key, label in zip(keys, labels, strict=True):
        if key and (label or none):
            found[key].add(label)
    return [len(found[key]) if key in found else 0 for key in keys]


def count_copies_in(texts: Sequence[str], others: Sequence[str]) -> list[int]:
    """How many of `others` are the same text as the row's."""
    counts = Counter(map(normalize_text, others))
    return [counts[key] if key else 0 for key in map(normalize_text, texts)]


def class_sizes(labels: Sequence[str]) -> list[int | None]:
    """Examples of the row's class on the first row of each class, None on its others: so that classes are counted, not rows."""
    counts = Counter(labels)
    return [counts[label] if first else None for label, first in zip(labels, _firsts(labels), strict=True)]


def mark_known_labels(labels: Sequence[str], others: Collection[str]) -> list[int | None]:
    """1 where the row's label is one of `others`, else 0, on the first row of each class; None on its others."""
    known = set(others)
    return [
        int(label in known) if first else None for label, first in zip(labels, _firsts(labels), strict=True)
    ]


def _firsts(labels: Sequence[str]) -> list[bool]:
    first: dict[str, int] = {}
    for i, label in enumerate(labels):
        first.setdefault(label, i)
    return [bool(label) and first[label] == i for i, label in enumerate(labels)]
