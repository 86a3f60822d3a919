"""Which weights a classifier trains: the cut, the scores and the mask together, as the settings say (steps 3 and 4 of the method)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from torch import Tensor

from tokensieve import scores
from tokensieve.base import layers_of, linears_of
from tokensieve.classifier import Classifier
from tokensieve.inputs import Inputs
from tokensieve.mask import Mask, select
from tokensieve.settings import Mask as MaskSettings


def cut_layer(classifier: Classifier, settings: MaskSettings) -> int:
    """The lowest layer that is trained, at most the last; those below are frozen and computed once."""
    layers = len(layers_of(classifier.encoder))
    return min(round(settings.frozen * layers), layers - 1)


def choose_mask(
    classifier: Classifier,
    inputs: Inputs,
    targets: Tensor,
    positions: Sequence[Sequence[bool]] | None,
    settings: MaskSettings,
    seed: int,
) -> Mask:
    """The mask under the budget, from scores of at most `settings.examples` of the training texts, drawn with `seed`.

    `targets` int64 [texts]; `positions` tells for each token of each text whether it belongs to a construct, and is read only
    where `settings.score` is "tokens".
    """
    cut, shape = cut_layer(classifier, settings), settings.shape
    if settings.score == "magnitude":
        found = scores.magnitude(classifier, shape, cut)
    elif settings.score == "random":
        found = scores.random(classifier, seed, shape, cut)
    else:
        sample = sorted(random.Random(seed).sample(range(len(inputs)), min(settings.examples, len(inputs))))
        found = scores.fisher(classifier, inputs, targets, shape, positions if settings.score == "tokens" else None, cut, sample)
    across = 1 if shape == "rows" else 0
    sizes = {name: linear.weight.shape[across] for name, linear in linears_of(classifier.encoder, cut).items()}
    total = sum(linear.weight.numel() for linear in linears_of(classifier.encoder).values())
    return select(found, sizes, int(settings.budget * total), shape)


def masked_parameters(classifier: Classifier, mask: Mask) -> int:
    """The encoder's weights and biases that `mask` trains."""
    linears = linears_of(classifier.encoder)
    count = 0
    for name, chosen in mask.indices.items():
        linear = linears[name]
        rows = mask.shape == "rows"
        count += len(chosen) * linear.weight.shape[1 if rows else 0] + (len(chosen) if rows and linear.bias is not None else 0)
    return count
