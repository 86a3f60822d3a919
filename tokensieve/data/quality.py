"""Count faults of labelled texts, row by row, and the rule of each check: which counts are allowed.

`tasks/expectations.py` makes the checks: from these counts and, for empty, overlong, unlabelled and
duplicate rows, from expectations that Great Expectations has. Texts are compared by
their `copy_key`. Empty texts fail the check `empty`, missing
labels the check `unlabelled`; both are left out of the comparisons. In multi-label data a text
without a label is fine, and classes are counted per label. Nothing here changes the data, or finds
out whether a label fits its text.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tokensieve.broken_characters import count_broken_sequences, count_control_characters
from tokensieve.cleaning import count_markup
from tokensieve.data.examples import Examples
from tokensieve.data.label_names import lookalike_labels
from tokensieve.data.normalize import copy_key
from tokensieve.data.quoted_mails import count_quoted_lines
from tokensieve.settings import Validate


@dataclass(frozen=True)
class Rule:
    """The allowed range of a check's numbers, and the words of its message.

    Attributes:
        low, high: The lowest and the highest allowed number; None if there is no limit.
        holds: Describes a part whose rows are all in the range.
        fails: Describes the rows that are not.
        remedy: What a user can do about them.
        unit: What is counted: row or class.
    """

    low: int | None
    high: int | None
    holds: str
    fails: str
    remedy: str
    unit: str = "row"


def _none(holds: str, fails: str, remedy: str) -> Rule:
    return Rule(None, 0, holds, fails, remedy)


def _every_class(holds: str, fails: str, remedy: str) -> Rule:
    return Rule(1, None, holds, fails, remedy, "class")


# The rules that need no setting, by the check's name.
_FIXED_RULES = {
    "empty": _none("no empty text", "with an empty text", "fill them in or remove the rows"),
    "unlabelled": _none(
        "a label in every row",
        "without a label",
        "add the labels, or leave these rows out: --set data.unlabelled=drop",
    ),
    "control": _none(
        "no control characters", "with control characters or lone surrogates", "remove these characters"
    ),
    "encoding": _none(
        "no broken encoding",
        "with broken encoding, as 'Ã©' for 'é'",
        "write the file from its source again as UTF-8",
    ),
    "duplicate": _none("no text twice", "with the text of an earlier row", "remove the copies"),
    "conflict": Rule(
        None,
        1,
        "the same label for the same text",
        "whose text has another label in another row",
        "keep one of them",
    ),
    "leak": _none(
        "no text of train",
        "with a text that is also in train",
        "the split removes it from train; to pass, remove it from one of them",
    ),
    "vanished_label": _every_class(
        "every label of the champion",
        "of the champion without an example",
        "add some, unless the class is meant to disappear",
    ),
    "markup": _none(
        "no HTML tags or entities", "with HTML tags or entities", "strip them with data.clean=html"
    ),
    "quoted": _none(
        "no quoted mails or signatures",
        "with quoted mails or signatures",
        "remove them before: they have the words of other texts",
    ),
    "ids": _none(
        "an id in every row, and each id once",
        "without an id, or with the id of another row",
        "correct the column, or set another data.id_column",
    ),
    "truncated": _none(
        "no text truncated", "truncated", "raise base.max_length or set base.truncation=head_tail"
    ),
}
_LOOKALIKE = Rule(
    None,
    1,
    "no labels that look alike",
    "whose label looks like another label (case, blanks, hyphens, invisible characters, Unicode form)",
    "correct them, or merge them: --set data.normalize_labels=true",
    "class",
)
_NEW_TO_CHAMPION = _every_class(
    "no label new to the champion",
    "new to the champion",
    "correct the labels, unless the classes are intended",
)
_NOT_IN_TRAIN = _every_class(
    "no label that is not in train",
    "not in train",
    "add examples to train, correct the labels or remove the rows",
)


def _small_classes(helpful: Sequence[str], more: str = "") -> str:
    """Return the remedy for small classes: the values of `data.rare` that help, and `more`."""
    verbs = " or ".join({"merge": "merge", "drop": "remove"}[value] for value in helpful)
    values = " or ".join(f"data.rare={value}" for value in helpful)
    ways = f"{verbs} the classes ({values})" if helpful else "remove their rows"
    return f"add examples, or {ways}{more}"


def rules(
    limits: Validate, part: str, rare_below: int = 0, helpful: Sequence[str] = ("merge", "drop")
) -> dict[str, Rule]:
    """Return the rules for the part `part` by the name of the check.

    A class with fewer than `rare_below` examples is called rare. `helpful` are the values of
    `data.rare` that would remove small classes.
    """
    longest, least = limits.max_characters, limits.min_examples_per_class
    # 2 is the lowest allowed value of the setting.
    lower = ", or lower validate.min_examples_per_class (at least 2)" if least > 2 else ""
    overlong = Rule(
        None,
        longest,
        f"at most {longest:,} characters per text",
        f"with more than {longest:,} characters",
        "cut the texts, remove the rows or raise validate.max_characters",
    )
    class_size = Rule(
        least,
        None,
        f"at least {least:,} examples per class",
        f"with fewer than {least:,} examples",
        _small_classes(helpful, lower),
        "class",
    )
    rare_class = Rule(
        None,
        0,
        f"at least {rare_below:,} examples per class",
        f"with fewer than {rare_below:,} examples",
        _small_classes(helpful),
        "class",
    )
    unknown = _NEW_TO_CHAMPION if part == "train" else _NOT_IN_TRAIN
    return (
        _FIXED_RULES
        | {"overlong": overlong, "class_size": class_size, "unknown_label": unknown}
        | {
            "rare_class": rare_class,
            "lookalike": _LOOKALIKE,
        }
    )


def measure_rows(
    part: str, examples: Mapping[str, Examples], rare_below: int = 0
) -> dict[str, Sequence[int | None]]:
    """Return the numbers of the rows of one part, for the checks that Great Expectations lacks.

    The key is the name of the check. Leaks are counted in test only. For multi-label data, the
    number of examples per class is missing: see `measure_classes`.
    """
    own, train = examples[part], examples.get("train")
    cells = ["\n".join((text, *names)) for text, names in zip(own.texts, own.labels, strict=True)]
    numbers: dict[str, Sequence[int | None]] = {
        "control": [count_control_characters(cell) for cell in cells],
        "encoding": [count_broken_sequences(cell) for cell in cells],
        "markup": list(map(count_markup, own.texts)),
        "quoted": list(map(count_quoted_lines, own.texts)),
    }
    if own.ids:
        numbers["ids"] = count_faulty_ids(own.ids)
    if part != "oos":
        numbers["conflict"] = count_labels_of_text(own.texts, own.labels, own.multi_label)
    if part == "test" and train:
        numbers["leak"] = count_copies_in(own.texts, train.texts)
    return (
        numbers
        if part == "oos" or own.multi_label
        else numbers | measure_classes(part, own.labels, rare_below)
    )


def count_faulty_ids(ids: Sequence[str]) -> list[int]:
    """Return 1 for each id that is blank or occurs more than once, else 0."""
    times = Counter(ids)
    return [int(not name.strip() or times[name] > 1) for name in ids]


def measure_classes(
    part: str, labels: Sequence[tuple[str, ...]], rare_below: int = 0
) -> dict[str, Sequence[int | None]]:
    """Return the checks of the classes of train.

    They are the number of examples of each class, the number that is missing to `rare_below`, and
    the number of labels that look alike. The numbers are at the first row of the class; the other
    rows have None. `labels` has at most one name per row: `one_row_per_label` makes such rows from
    multi-label data.
    """
    if part != "train":
        return {}
    sizes = class_sizes(labels)
    counted = {names[0]: size for names, size in zip(labels, sizes, strict=True) if size is not None}
    alike = {name: len(group) for group in lookalike_labels(counted) for name, _ in group}
    return {
        "class_size": sizes,
        "rare_class": [None if size is None else max(0, rare_below - size) for size in sizes],
        "lookalike": [
            None if size is None else alike.get(names[0], 1)
            for names, size in zip(labels, sizes, strict=True)
        ],
    }


def one_row_per_label(examples: Examples) -> Examples:
    """Return one example for each label of each text, with the row of the text."""
    places = [(i, name) for i, names in enumerate(examples.labels) for name in names]
    repeated = examples.take([i for i, _ in places])
    return replace(repeated, labels=[(name,) for _, name in places], multi_label=False)


def count_earlier_copies(texts: Sequence[str]) -> list[int]:
    """Return for each row the number of earlier rows with the same text, 0 for the first row."""
    seen: Counter[str] = Counter()
    copies = []
    for key in map(copy_key, texts):
        copies.append(seen[key] if key else 0)
        seen[key] += 1
    return copies


def count_labels_of_text(
    texts: Sequence[str], labels: Sequence[tuple[str, ...]], multi_label: bool = False
) -> list[int]:
    """Return for each row the number of different labels of all rows with the same text.

    For multi-label data, different sets of labels are counted. The empty set is one of them.
    """
    keys = [copy_key(text) for text in texts]
    found: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
    for key, names in zip(keys, labels, strict=True):
        if key and (names or multi_label):
            found[key].add(names)
    return [len(found[key]) if key in found else 0 for key in keys]


def count_copies_in(texts: Sequence[str], others: Sequence[str]) -> list[int]:
    """Return for each text the number of `others` that are copies of it (`copy_key`)."""
    counts = Counter(map(copy_key, others))
    return [counts[key] if key else 0 for key in map(copy_key, texts)]


def class_sizes(labels: Sequence[tuple[str, ...]]) -> list[int | None]:
    """Return for the first row of each label the number of rows with this label.

    The other rows, and rows without a label, have None.
    """
    counts = Counter(labels)
    return [counts[names] if first else None for names, first in zip(labels, _firsts(labels), strict=True)]


def _firsts(labels: Sequence[tuple[str, ...]]) -> list[bool]:
    first: dict[tuple[str, ...], int] = {}
    for i, names in enumerate(labels):
        first.setdefault(names, i)
    return [bool(names) and first[names] == i for i, names in enumerate(labels)]
