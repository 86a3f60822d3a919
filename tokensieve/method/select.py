"""Score the weights of a classifier and select its mask (steps 3 and 4 of the method)."""

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
from tokensieve.model.products import fast_products
from tokensieve.settings import Mask as MaskSettings
from tokensieve.settings import Schedule


def first_trainable_layer(classifier: Classifier, schedule: Schedule) -> int:
    """Return the number of the lowest layer that is ever trained.

    The layers below it are frozen. At least the last layer is trained.
    """
    return _share(schedule.frozen_layers, classifier)


def first_top_layer(classifier: Classifier, schedule: Schedule) -> int:
    """Return the number of the lowest layer that trains until the end.

    The layers between the frozen ones and this one train in the full-depth epochs only.
    """
    return max(_share(schedule.top_layers_from, classifier), first_trainable_layer(classifier, schedule))


def scoring_sample(texts: int, settings: MaskSettings, seed: int) -> list[int]:
    """Return the indices of the training texts that are scored and probed.

    They are at most half of the `texts` texts, so that scoring takes little time.
    """
    return sorted(random.Random(seed).sample(range(texts), min(settings.examples, math.ceil(texts / 2))))


@dataclass(frozen=True)
class MaskSelection:
    """The mask, and how far the task is from pre-training.

    Attributes:
        mask: The weights that are trained.
        probe_errors: `StateRecorder.errors` at the first trainable layer, the first top layer and
            the head. For multi-label data they are empty and not needed: all layers that are not
            frozen train in every epoch.
        is_far: Whether the task is far from pre-training, by these errors.
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
    """Select the mask under the budget, and probe how far the task is from pre-training.

    Scores and probes use the same sample of the training texts. Every layer that is not frozen gets
    the same share of the budget. Otherwise most of it would go to the upper layers, because their
    gradients are larger while the head is untrained. If the unit is layers, the layers are selected
    among the top layers, each with all its rows.

    Args:
        classifier: Untrained, with a frozen encoder.
        inputs: The training texts.
        targets: As in `fisher.fisher_scores`.
        positions: Whether each token of each scored text belongs to a construct. Only the score
            construct_fisher uses them.
        settings: The score, the unit and the budget.
        schedule: Which layers are frozen, and which are top layers.
        seed: The seed of the sample and of random scores.
        added: Ids of new tokens, ascending. If no layer is frozen, their embeddings are trained
            too, outside the budget.

    Raises:
        InputError: If the unit is layers, and the budget is less than one layer.
    """
    first, top = first_trainable_layer(classifier, schedule), first_top_layer(classifier, schedule)
    lowest = top if settings.unit == "layers" else first
    total = _weights(encoder_linears(classifier.encoder))
    if settings.unit == "layers":
        _check_budget_of_layers(classifier, top, settings.budget, total)
    scores, errors = _score_and_probe(
        classifier, inputs, targets, positions, settings, seed, lowest, sorted({first, top})
    )
    is_far = bool(errors) and probe.is_far_from_pretraining(errors, schedule.far_task_ratio)
    mask = _mask(classifier, scores, settings.unit, int(settings.budget * total), lowest)
    # Below a frozen layer, embeddings have no gradient.
    tokens = torch.tensor(added if first == 0 else (), dtype=torch.int64)
    return MaskSelection(replace(mask, tokens=tokens), errors, is_far)


@fast_products()
def _score_and_probe(
    classifier: Classifier,
    inputs: Inputs,
    targets: Tensor,
    positions: fisher.Positions | None,
    settings: MaskSettings,
    seed: int,
    lowest: int,
    probed: list[int],
) -> tuple[dict[str, Tensor], dict[int, Tensor]]:
    """Return the scores from layer `lowest` up, and the errors of the probes, in one pass.

    The probes are at the layers `probed` and the head. There are none for multi-label data.
    """
    shape = "rows" if settings.unit == "layers" else settings.unit
    sample = scoring_sample(len(inputs), settings, seed)
    multilabel = targets.dim() == 2
    with probe.StateRecorder(classifier, probed, len(sample)) as recorder:
        if settings.score in ("construct_fisher", "fisher"):
            counted = positions if settings.score == "construct_fisher" else None
            scores = fisher.fisher_scores(
                classifier, inputs, targets, shape, counted, lowest, sample, recorder
            )
        elif settings.score == "magnitude":
            scores = fisher.magnitude_scores(classifier, shape, lowest)
        else:
            scores = fisher.random_scores(classifier, seed, shape, lowest)
        if settings.score in ("magnitude", "random") and not multilabel:
            recorder.run(inputs, sample)
    return scores, {} if multilabel else recorder.errors(targets[sample])


def _mask(classifier: Classifier, scores: Mapping[str, Tensor], shape: str, budget: int, first: int) -> Mask:
    """Return the mask with the highest `scores`, from layer `first` up, without tokens."""
    if shape == "layers":
        return _whole_layers(classifier, first, scores, budget)
    layers = _linears_by_layer(classifier, first)
    chosen: dict[str, Tensor] = {}
    for linears in layers:
        inside = {name: scores[name] for name in linears}
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
    """Return the number of weights, biases and embedding values that `mask` trains."""
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


def _whole_layers(classifier: Classifier, top: int, scores: Mapping[str, Tensor], budget: int) -> Mask:
    """Return the mask of whole layers, from `top` up, with the highest score per weight.

    It has as many layers as fit into `budget`, each with all its rows.
    """
    layers = {f"{top + i:04}": layer for i, layer in enumerate(_linears_by_layer(classifier, top))}
    sums = {
        key: torch.stack([scores[name].double().sum() for name in layer]).sum(0, keepdim=True)
        for key, layer in layers.items()
    }
    chosen = select_rows(sums, {key: _weights(layer) for key, layer in layers.items()}, budget).indices
    linears = {name: linear for key in chosen for name, linear in layers[key].items()}
    return Mask("rows", {name: torch.arange(linears[name].out_features) for name in sorted(linears)})


def _check_budget_of_layers(classifier: Classifier, cut: int, budget: float, total: int) -> None:
    """Check that the budget is at least one layer.

    Training a layer anyway would exceed the budget.

    Raises:
        InputError: If it is less.
    """
    smallest = min(_weights(layer) for layer in _linears_by_layer(classifier, cut))
    if int(budget * total) < smallest:
        least = math.ceil(smallest / total * 1e4) / 1e4
        raise InputError(
            f"mask.budget is {budget:g}, less than the smallest layer ({least:g} of the encoder's linear "
            "weights), and mask.unit is "
            f"'layers'. Use mask.budget={least:g} or more, or mask.unit=rows, columns or entries"
        )


def _linears_by_layer(classifier: Classifier, cut: int) -> list[dict[str, nn.Linear]]:
    """Return the linear layers inside each layer from `cut` up, by module name."""
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
