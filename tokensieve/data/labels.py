"""The labels of texts: one name a text or, with a separator, a set of names, which may be empty.

A set is kept as one string, its names sorted and joined, so that equal sets are equal strings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def names_of(label: str, separator: str | None) -> list[str]:
    """The names in the label of one text: itself, or with a separator each that stands in it, sorted and once."""
    if separator is None:
        return [label]
    return sorted({name.strip() for name in label.split(separator)} - {""})


def joined(names: Iterable[str], separator: str) -> str:
    """The string that a set of names is kept as."""
    return separator.join(sorted(names))


def class_names(labels: Iterable[str], separator: str | None) -> list[str]:
    """The names in all of `labels`, sorted: the classes of a classifier."""
    return sorted({name for label in set(labels) for name in names_of(label, separator)})


def encode_targets(labels: Sequence[str], names: Sequence[str], separator: str | None) -> Tensor:
    """The places of labels in the classes `names`: int64 [texts], or with a separator float32 [texts, classes] of 0 and 1.

    Raises:
        KeyError: a label that is no class.
    """
    import torch

    place = {name: i for i, name in enumerate(names)}
    if separator is None:
        return torch.tensor([place[label] for label in labels], dtype=torch.int64)
    present = torch.zeros(len(labels), len(names))
    for row, label in enumerate(labels):
        present[row, [place[name] for name in names_of(label, separator)]] = 1.0
    return present
