"""Loss and accuracy of logits, for one label per text and for multi-label data."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def mean_loss(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean loss of logits float32 [texts, classes].

    It is cross entropy for targets int64 [texts]. For multi-label targets float32 [texts, classes]
    of 0 and 1 it is binary cross entropy, summed over the classes. `weights` [classes] weigh the
    texts of a class, or the texts that have a label.
    """
    if targets.dim() == 1:
        return F.cross_entropy(logits, targets, weights)
    summed = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction="sum")
    return summed / len(targets)


def accuracy(logits: Tensor, targets: Tensor) -> float:
    """Return the share of texts whose label is correct; for multi-label data, with all labels correct at probability 1/2."""
    if targets.dim() == 1:
        return (logits.argmax(1) == targets).float().mean().item()
    return ((logits > 0) == (targets > 0)).all(1).float().mean().item()


def class_weights(targets: Tensor, classes: int) -> Tensor:
    """Return loss weights float32 [classes] that balance the classes.

    For one label per text, a weight is inverse to the class's frequency, and 1 on average over the
    texts. For multi-label data it is the number of texts without the label divided by the number of
    texts with it.
    """
    if targets.dim() == 2:
        having = targets.sum(0).clamp(min=1.0)
        return (len(targets) - having).clamp(min=1.0) / having
    counts = torch.bincount(targets, minlength=classes)
    return len(targets) / (int((counts > 0).sum()) * counts.clamp(min=1).float())
