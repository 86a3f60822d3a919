"""How much of a task the layers of the untrained encoder hold: linear probes on their pooled states.

An encoder's upper layers have been trained for its own purpose. Where a task is far from it, they hold less of what the task needs
than lower layers do, and training them alone cannot bring it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tokensieve.classifier import Classifier
from tokensieve.inputs import Batch, Inputs, by_length

PENALTIES = (0.01, 0.1, 1.0, 10.0)  # of the mean variance of a feature
SURE = 3.0  # standard errors


@torch.inference_mode()
def errors(classifier: Classifier, inputs: Inputs, targets: Tensor, texts: Sequence[int], layers: Sequence[int]) -> list[Tensor]:
    """How many labels of each text a probe gets wrong, float64 [texts]: of the pooled states that enter each of `layers`, and last of
    those that the head gets.

    `layers` ascend, from the cut of `inputs` or above; `targets` are all inputs', as in `training.fit`, `texts` the indices of those
    that are probed.
    """
    classifier.eval()
    pooled = torch.empty(len(layers) + 1, len(texts), classifier.head.in_features)
    for places in by_length([inputs.lengths[i] for i in texts], inputs.tokens_a_batch):
        batch = inputs.batch([texts[place] for place in places])
        for i, layer in enumerate(layers):
            states = batch.entering(classifier, layer)
            pooled[i, places] = classifier.pooled(states, batch.mask).float().cpu()
            batch = Batch(None, states, batch.mask, layer) if layer else batch
        pooled[-1, places] = batch.features(classifier).float().cpu()
    return [left_out(features, targets[list(texts)]) for features in pooled]


def left_out(features: Tensor, targets: Tensor) -> Tensor:
    """How many labels of each text are wrong, float64 [texts], by a ridge regression on all other texts, with the best penalty.

    `features` float32 [texts, width]. Leaving a text out needs no second regression: its residual grows by the factor 1 / (1 - h),
    h being its leverage (Allen 1974).
    """
    several = targets.dim() == 2
    wanted = (targets.double() if several else F.one_hot(targets).double()) * 2 - 1
    x = features.double() - features.double().mean(0)
    values, vectors = torch.linalg.eigh(x.mT @ x)
    turned = x @ vectors
    products = turned.mT @ (wanted - wanted.mean(0))
    tried = []
    for penalty in PENALTIES:
        inverse = 1 / (values.clamp(min=0) + penalty * values.mean().clamp(min=1e-12))
        leverage = (turned.square() * inverse).sum(1, keepdim=True) + 1 / len(x)
        fitted = wanted.mean(0) + turned @ (inverse.unsqueeze(1) * products)
        predicted = wanted - (wanted - fitted) / (1 - leverage).clamp(min=1e-9)
        wrong = ((predicted > 0) != (wanted > 0)).sum(1) if several else predicted.argmax(1) != targets
        tried.append(wrong.double())
    return min(tried, key=lambda wrong: float(wrong.sum()))


def distant(found: Mapping[int, Tensor], ratio: float) -> bool:
    """Whether the probe of the highest layer makes more than `ratio` times the errors of a lower one, and that not by chance."""
    *lower, top = (found[layer] for layer in sorted(found))
    return any(bool(top.sum() > ratio * other.sum()) and _surely_more(top, other) for other in lower)


def _surely_more(errors: Tensor, fewer: Tensor) -> bool:
    gaps = errors - fewer
    return bool(gaps.sum() > SURE * gaps.square().sum().sqrt())
