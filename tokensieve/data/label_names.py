"""Change labels of the raw data as the settings want: those that look alike, and rare classes."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tokensieve.data.examples import Examples
from tokensieve.data.normalize import without_invisible
from tokensieve.settings import Data

OTHER = "other"  # the class into which rare ones are merged

NewNames = Mapping[str, str | None]
"""The new name of each label that changes; None if it is dropped."""


@dataclass(frozen=True)
class Prepared:
    """Parts of the data with the labels that a model is trained on.

    Attributes:
        parts: The examples by part.
        merged: The labels that were merged with one that looks alike, and that one.
        merged_rows: The number of rows with such a label.
        rare: The rare classes that were dropped or merged, and their training texts.
        rare_rows: The number of rows of such a class.
    """

    parts: dict[str, Examples]
    merged: dict[str, str]
    merged_rows: int
    rare: dict[str, int]
    rare_rows: int


def prepare_labels(parts: Mapping[str, Examples], settings: Data) -> Prepared:
    """Return the parts with labels merged and dropped as the settings want, and what was changed.

    `data.normalize_labels` merges labels that look alike into the most frequent of them. Then
    `data.rare` drops the classes with fewer than `data.rare_below` training texts, or merges them
    into the class OTHER. A row without a label after that is removed. Out-of-scope texts stay.
    """
    found = dict(parts)
    merged: dict[str, str] = {}
    if settings.normalize_labels:
        groups = lookalike_labels(_sizes(found))
        merged = {name: group[0][0] for group in groups for name, _ in group[1:]}
    merged_rows = _rename(found, merged)
    rare: dict[str, int] = {}
    if settings.rare != "keep" and "train" in found:
        sizes = _sizes({"train": found["train"]})
        rare = {name: n for name, n in sorted(sizes.items()) if n < settings.rare_below and name != OTHER}
    rare_rows = _rename(found, dict.fromkeys(rare, OTHER if settings.rare == "merge" else None))
    return Prepared(found, merged, merged_rows, rare, rare_rows)


def helpful_settings(sizes: Mapping[str, int], least: int, settings: Data) -> tuple[str, ...]:
    """Return the values of `data.rare` that leave only classes with at least `least` texts.

    Args:
        sizes: The training texts of each class, prepared by `settings`.
        least: The number of texts that a class needs.
        settings: They have the value that is in force.
    """
    if settings.rare == "keep":
        rare = {name: n for name, n in sizes.items() if n < settings.rare_below and name != OTHER}
    else:
        rare = {OTHER: sizes.get(OTHER, 0)} if settings.rare == "merge" else {}
    dropped = {name: n for name, n in sizes.items() if name not in rare}
    merged = dropped | {OTHER: dropped.get(OTHER, 0) + sum(rare.values())}
    outcomes = {"merge": merged, "drop": dropped} if settings.rare == "keep" else {"drop": dropped}
    return tuple(
        value for value, after in outcomes.items() if rare and len(after) > 1 and min(after.values()) >= least
    )


def match_labels(examples: Examples, known: Sequence[str], settings: Data) -> tuple[Examples, dict[str, str]]:
    """Return new examples with the labels of a model, and the labels that were renamed.

    A run merges labels that look alike if `data.normalize_labels` is set. So a label that is not
    one of the model's, `known`, becomes the one that looks like it, if there is exactly one.
    """
    if not settings.normalize_labels:
        return examples, {}
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for name in known:
        alike[_appearance(name)].append(name)
    others = sorted({name for names in examples.labels for name in names} - set(known))
    groups = {name: alike.get(_appearance(name), []) for name in others}
    renamed = {name: group[0] for name, group in groups.items() if len(group) == 1}
    parts = {"data": examples}
    _rename(parts, renamed)
    return parts["data"], renamed


def lookalike_labels(sizes: Mapping[str, int]) -> list[list[tuple[str, int]]]:
    """Return the groups of labels that look alike, each with its texts, the most frequent first.

    They differ only in case, blanks, punctuation between words (- or _), invisible characters, or
    in how Unicode composes their characters.
    """
    groups: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for name, size in sizes.items():
        groups[_appearance(name)].append((name, size))
    alike = [sorted(group, key=lambda own: (-own[1], own[0])) for group in groups.values() if len(group) > 1]
    return sorted(alike, key=lambda group: group[0][0])


def _appearance(name: str) -> str:
    folded = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(without_invisible(folded).replace("_", " ").replace("-", " ").split()) or name


def _sizes(parts: Mapping[str, Examples]) -> Counter[str]:
    return Counter(name for own in parts.values() for names in own.labels for name in names)


def _rename(parts: dict[str, Examples], new_names: NewNames) -> int:
    """Rename the labels in `parts`, and return the number of rows that changed or were removed."""
    changed = 0
    for part, own in parts.items() if new_names else ():
        renamed = {names: _renamed(names, new_names) for names in set(own.labels)}
        touched = {names for names, new in renamed.items() if new != names}
        changed += sum(names in touched for names in own.labels)
        kept = [i for i, names in enumerate(own.labels) if renamed[names] or not names]
        taken = own.take(kept)
        parts[part] = replace(taken, labels=[renamed[names] for names in taken.labels])
    return changed


def _renamed(names: tuple[str, ...], new_names: NewNames) -> tuple[str, ...]:
    found = {new_names.get(name, name) for name in names}
    return tuple(sorted(name for name in found if name is not None))
