"""Which weights a classifier trains: the cut, the scores and the mask together, as the settings say (steps 3 and 4 of the method)."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from tokensieve.errors import InputError
from tokensieve.method import fisher, probe
from tokensieve.method.mask import Mask, select_entries, select_rows, unit_count
from tokensieve.model.batches import Inputs
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_layers, encoder_linears
from tokensieve.settings import Mask as MaskSettings
from tokensieve.settings import Schedule


def first_trainable_layer(classifier: Classifier, schedule: Schedule) -> int:
    """The lowest layer that is trained, at most the last; what is below never changes."""
    return _share(schedule.frozen_layers, classifier)


def first_top_layer(classifier: Classifier, schedule: Schedule) -> int:
    """The lowest layer that is trained to the end; from the first layer up to it, layers train in the open epochs only."""
    return max(_share(schedule.top_layers_from, classifier), first_trainable_layer(classifier, schedule))


def scoring_sample(texts: int, settings: MaskSettings, seed: int) -> list[int]:
    """The indices of the training texts that are scored and probed, drawn with `seed`: no more than half, so that it stays cheap."""
    return sorted(random.Random(seed).sample(range(texts), min(settings.examples, math.ceil(texts / 2))))


@dataclass(frozen=True)
class MaskSelection:
    """The mask, and whether the task is distant from what the encoder was trained for: by what probes of the scored texts get wrong,
    `probe.Watch.errors` at the first layer, the cut and the head.

    Where texts have several labels nothing is probed, since all layers train throughout in any case.
    """

    mask: Mask
    probe_errors: dict[int, Tensor]
    is_far: bool


def select_mask(
    classifier: Classifier,
    inputs: Inputs,
    targets: Tensor,
    positions: fisher.Positions | None,
    settings: MaskSettings,
    schedule: Schedule,
    seed: int,
    added: Sequence[int] = (),
) -> MaskSelection:
    """The mask under the budget, from the scores of some training texts, and what probes say of them.

    `targets` as in `scores.fisher`; `positions` tells for each token of each scored text whether it belongs to a construct, and is read
    only where `settings.score` is "tokens". Every layer from the first trained one up gets the same share of the budget: under an
    untrained head the gradients of the upper layers are larger, so that in one list they would take most of it. Whole layers are
    a mask of all their rows, chosen among those that train to the end. Where no layer is frozen throughout, the embeddings of the
    tokens `added` (ids, ascending) train as well, outside the budget: below a frozen layer they would have no gradient.

    Raises:
        InputError: whole layers, under a budget that holds none.
    """
    first, cut = first_trainable_layer(classifier, schedule), first_top_layer(classifier, schedule)
    lowest, shape = (cut, "rows") if settings.unit == "layers" else (first, settings.unit)
    total = sum(linear.weight.numel() for linear in encoder_linears(classifier.encoder).values())
    if settings.unit == "layers":
        _refuse_less_than_a_layer(classifier, cut, settings.budget, total)
    sample = scoring_sample(len(inputs), settings, seed)
    several = targets.dim() == 2
    with probe.StateRecorder(classifier, sorted({first, cut}), len(sample)) as recorder:
        if settings.score in ("construct_fisher", "fisher"):
            counted = positions if settings.score == "construct_fisher" else None
            found = fisher.fisher_scores(
                classifier, inputs, targets, shape, counted, lowest, sample, recorder
            )
        else:
            magnitude = settings.score == "magnitude"
            found = (
                fisher.magnitude_scores(classifier, shape, lowest)
                if magnitude
                else fisher.random_scores(classifier, seed, shape, lowest)
            )
            if not several:
                recorder.run(inputs, sample)
    errors = {} if several else recorder.errors(targets[sample])
    mask = _mask(classifier, found, settings.unit, int(settings.budget * total), lowest)
    tokens = torch.tensor(added if first == 0 else (), dtype=torch.int64)
    return MaskSelection(
        replace(mask, tokens=tokens),
        errors,
        not several and probe.is_far_from_pretraining(errors, schedule.far_task_ratio),
    )


def _mask(classifier: Classifier, found: Mapping[str, Tensor], shape: str, budget: int, first: int) -> Mask:
    """What has the highest scores `found`, from layer `first` up, without tokens."""
    if shape == "layers":
        return _whole_layers(classifier, first, found, budget)
    layers = _linears_by_layer(classifier, first)
    chosen: dict[str, Tensor] = {}
    for linears in layers:
        inside = {name: found[name] for name in linears}
        if shape == "entries":
            chosen |= select_entries(inside, budget // len(layers)).indices
        else:
            sizes = {
                name: linear.weight.numel() // unit_count(linear.weight, shape)
                for name, linear in linears.items()
            }
            chosen |= select_rows(inside, sizes, budget // len(layers), shape).indices
    return Mask(shape, chosen)


def count_masked_parameters(classifier: Classifier, mask: Mask) -> int:
    """The encoder's weights, biases and embeddings that `mask` trains, as numbers."""
    linears = encoder_linears(classifier.encoder)
    embedding: Any = classifier.encoder.get_input_embeddings()
    count: int = len(mask.tokens) * embedding.weight.shape[1]
    for name, chosen in mask.indices.items():
        weight, bias = linears[name].weight, linears[name].bias
        count += len(chosen) * (
            weight.numel() // unit_count(weight, mask.shape) + (mask.shape == "rows" and bias is not None)
        )
    return count


def _share(share: float, classifier: Classifier) -> int:
    layers = len(encoder_layers(classifier.encoder))
    return min(round(share * layers), layers - 1)


def _whole_layers(classifier: Classifier, cut: int, found: Mapping[str, Tensor], budget: int) -> Mask:
    """All rows of the layers from `cut` up whose linears have the highest sum of row scores `found` a weight, as many as fit."""
    layers = {f"{cut + i:04}": layer for i, layer in enumerate(_linears_by_layer(classifier, cut))}
    sums = {
        key: torch.stack([found[name].double().sum() for name in layer]).sum(0, keepdim=True)
        for key, layer in layers.items()
    }
    chosen = select_rows(sums, {key: _weights(layer) for key, layer in layers.items()}, budget).indices
    linears = {name: linear for key in chosen for name, linear in layers[key].items()}
    return Mask("rows", {name: torch.arange(linears[name].out_features) for name in sorted(linears)})


def _refuse_less_than_a_layer(classifier: Classifier, cut: int, budget: float, total: int) -> None:
    """To train the best layer all the same would be more than was asked for, and unfair in a comparison at equal budgets."""
    smallest = min(_weights(layer) for layer in _linears_by_layer(classifier, cut))
    if int(budget * total) < smallest:
        least = math.ceil(smallest / total * 1e4) / 1e4
        raise InputError(
            f"mask.budget is {budget:g}, and mask.unit 'layers' trains whole layers, of which the smallest holds {least:g} of the "
            f"encoder's linear weights; give mask.budget={least:g} or more, or mask.unit=rows, columns or entries"
        )


def _linears_by_layer(classifier: Classifier, cut: int) -> list[dict[str, nn.Linear]]:
    """The linears of each layer from `cut` up, by module name."""
    above = [
        encoder_linears(classifier.encoder, i)
        for i in range(cut, len(encoder_layers(classifier.encoder)) + 1)
    ]
    return [
        {name: linear for name, linear in lower.items() if name not in upper}
        for lower, upper in pairwise(above)
    ]


def _weights(linears: Mapping[str, nn.Linear]) -> int:
    return sum(linear.weight.numel() for linear in linears.values())
