"""The number of epochs of a training, the number of texts per step, and the texts of each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import torch

from tokensieve.settings import Finetune

# Texts are sorted by length within this many batches, so that a batch needs little padding.
BATCHES_SORTED_TOGETHER = 50
# The minimum number of texts per step. Smaller batches cost more and do not help.
MIN_BATCH_SIZE = 8


def count_epochs(settings: Finetune, texts: int) -> int:
    """Return the number of epochs over `texts` texts, at least one.

    It is the largest number within `finetune.max_epochs`. No epoch starts after
    `finetune.max_steps` steps.
    """
    steps_per_epoch = math.ceil(texts / batch_size(settings, texts))
    return max(1, min(settings.max_epochs, math.ceil(settings.max_steps / steps_per_epoch)))


def batch_size(settings: Finetune, texts: int) -> Fraction:
    """Return the mean number of texts per step of a training on `texts` texts.

    It is `finetune.batch_size`, or less if an epoch would otherwise have fewer than
    `finetune.min_steps_per_epoch` steps. Small data sets need enough steps: after 16 steps, the
    head of a data set of 35 texts is only half trained.
    """
    steps = min(settings.min_steps_per_epoch, texts // MIN_BATCH_SIZE)
    return min(Fraction(settings.batch_size), Fraction(texts, max(1, steps)))


def shuffled_batches(lengths: Sequence[int], size: Fraction | int, seed: int) -> list[list[int]]:
    """Return all indices in shuffled batches of texts of similar length.

    A batch has `size` texts on average. Only one batch of an epoch may be smaller.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(lengths), generator=generator).tolist()
    batches = []
    sorted_together = int(size * BATCHES_SORTED_TOGETHER)
    for first in range(0, len(order), sorted_together):
        bucket = sorted(order[first : first + sorted_together], key=lengths.__getitem__)
        ends = [round(i * size) for i in range(math.ceil(len(bucket) / size) + 1)]
        batches += [bucket[start:end] for start, end in pairwise(ends)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
