"""Convert the labels of texts to class names, and to targets for training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def class_names(labels: Iterable[tuple[str, ...]]) -> list[str]:
    """Return the distinct names in `labels`, sorted.

    They are the classes of a classifier, in the order of its logits.
    """
    return sorted({name for names in set(labels) for name in names})


def encode_targets(labels: Sequence[tuple[str, ...]], classes: Sequence[str], multi_label: bool) -> Tensor:
    """Return the labels as the targets of a loss function.

    For single-label data, the target is the index of the text's class in `classes`: int64 [texts].
    For multi-label data, it is 1 for each label of the text and 0 for the other classes: float32
    [texts, classes].

    Raises:
        KeyError: If a label is not one of `classes`.
        ValueError: If the labels are single-label, and a text does not have exactly one.
    """
    import torch

    index = {name: i for i, name in enumerate(classes)}
    if not multi_label:
        return torch.tensor([index[name] for (name,) in labels], dtype=torch.int64)
    targets = torch.zeros(len(labels), len(classes))
    for row, names in enumerate(labels):
        targets[row, [index[name] for name in names]] = 1.0
    return targets
