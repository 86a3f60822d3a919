"""The loss and the accuracy of logits, for single-label and for multi-label data."""

from __future__ import annotations

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from tokensieve.inference.decisions import TEMPERATURES


def mean_loss(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean loss per text, in nats.

    It is cross entropy, or for multi-label data binary cross entropy, summed over the classes.

    Args:
        logits: float32 [texts, classes].
        targets: int64 [texts], or for multi-label data float32 [texts, classes] of 0 and 1.
        weights: The weight of the texts of each class, or of the texts with each label, [classes].
    """
    if targets.dim() == 1:
        return F.cross_entropy(logits, targets, weights)
    summed = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction="sum")
    return summed / len(targets)


def calibrated_loss(logits: Tensor, targets: Tensor) -> float:
    """Return the mean loss per text, in nats, at the temperature that suits it best.

    Logits grow while a model trains. So its loss on other texts can rise while its labels still get
    better. A temperature undoes this (Guo et al. 2017, arXiv 1706.04599). As in
    `evaluation.temperature.fit_temperature`, a standard normal prior on the logarithm of the
    temperature counts as one text.
    """

    def cost(logarithm: float) -> float:
        return loss_at(logarithm) + logarithm**2 / (2 * len(targets))

    def loss_at(logarithm: float) -> float:
        return mean_loss(logits / math.exp(logarithm), targets).item()

    lowest, highest = map(math.log, TEMPERATURES)
    return loss_at(minimize_scalar(cost, bounds=(lowest, highest), method="bounded").x)


def accuracy(logits: Tensor, targets: Tensor) -> float:
    """Return the share of texts whose label is correct.

    For multi-label data, it is the share of texts with exactly the labels of probability above 1/2.
    """
    if targets.dim() == 1:
        return (logits.argmax(1) == targets).float().mean().item()
    return ((logits > 0) == (targets > 0)).all(1).float().mean().item()


def class_weights(targets: Tensor, classes: int) -> Tensor:
    """Return loss weights, float32 [classes], that balance the classes.

    For single-label data, a weight is inverse to the frequency of the class, and the mean over the
    texts is 1. For multi-label data, it is the number of texts without the label divided by the
    number of texts with it.
    """
    if targets.dim() == 2:
        having = targets.sum(0).clamp(min=1.0)
        return (len(targets) - having).clamp(min=1.0) / having
    counts = torch.bincount(targets, minlength=classes)
    return len(targets) / (int((counts > 0).sum()) * counts.clamp(min=1).float())
