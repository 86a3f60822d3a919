"""Scores of rows, columns or entries of each linear layer: which of the model's own weights a task is sensitive to.

The score of a weight is its squared gradient, an example at a time (empirical Fisher information), summed over the examples;
only positions whose tokens belong to a construct count (step 3 of the method). Rows and columns need no gradient of a weight: with
activations X [T, in] and output gradients G [T, out] of one example, the row sums of (Gᵀ X)² are the column sums of
G * ((X Xᵀ) G), and the column sums are those of X * ((G Gᵀ) X).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from tokensieve.method.probe import StateRecorder
from tokensieve.model.batches import Inputs, batches_by_length
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_linears

# Tokens of a batch at most, by device. It keeps every layer's states for the gradients, which a batch that only predicts does not:
# with 8,192 on a GPU, scoring took twice the memory of training all weights. A CPU's products are as fast from 32 rows on, and
# smaller batches pad less.
TOKENS_A_BATCH = {"cpu": 256, "cuda": 1024}

# For the index of a text, whether each of its tokens counts.
Positions = Mapping[int, Sequence[bool]] | Sequence[Sequence[bool]]


def fisher_scores(
    classifier: Classifier,
    inputs: Inputs,
    targets: Tensor,
    shape: str = "rows",
    positions: Positions | None = None,
    cut: int = 0,
    texts: Sequence[int] | None = None,
    recorder: StateRecorder | None = None,
) -> dict[str, Tensor]:
    """Scores of the rows of every linear layer from layer `cut` up, by module name, float32 [out]; columns [in], entries [out, in].

    `targets` are int64 [inputs], one class a text with cross entropy as its loss, or float32 [inputs, classes], 1 for each of a
    text's classes, with binary cross entropy summed over the classes. `positions` tells for each token of each scored text whether it
    counts, None for all; `texts` are the indices of those that are scored, None for all. `recorder`, entered, keeps their states.

    Entries are the one shape that needs each text's gradient Gᵀ X [out, in] of each layer: a product of T x out x in, and three
    passes over memory of that size. It is formed for one text and one layer at a time, so that beside the scores, as many
    numbers as the layers have weights, the memory of one weight is taken.
    """
    scored = range(len(inputs)) if texts is None else texts
    linears = encoder_linears(classifier.encoder, cut)
    tokens_a_batch = min(
        inputs.tokens_per_batch, TOKENS_A_BATCH["cpu" if inputs.device.type == "cpu" else "cuda"]
    )
    totals = {
        name: torch.zeros_like(_summed(linear.weight.detach(), shape)) for name, linear in linears.items()
    }
    caught: dict[str, tuple[Tensor, Tensor]] = {}
    handles = [linear.register_forward_hook(_catcher(caught, name)) for name, linear in linears.items()]
    classifier.eval()
    try:
        with tqdm(total=len(scored), desc="scoring weights", unit="text", leave=False, disable=None) as bar:
            for places in batches_by_length([inputs.lengths[i] for i in scored], tokens_a_batch):
                indices = [scored[place] for place in places]
                batch = inputs.batch(indices)
                counted = _counted(positions, indices, batch.attention_mask)
                loss = _loss(batch.logits(classifier), targets[indices].to(inputs.device))
                if recorder:
                    recorder.record(places, batch.attention_mask)
                gradients = torch.autograd.grad(loss, [output for _, output in caught.values()])
                for (name, (x, _)), g in zip(caught.items(), gradients, strict=True):
                    _add_squares(totals[name], x.detach(), g, counted, shape)
                caught.clear()
                bar.update(len(indices))
    finally:
        for handle in handles:
            handle.remove()
    return {name: total.cpu() for name, total in totals.items()}


def magnitude_scores(classifier: Classifier, shape: str = "rows", cut: int = 0) -> dict[str, Tensor]:
    """The rival without data: squared weights, summed over rows or columns. Shapes as of `fisher`."""
    return {
        name: _summed(linear.weight.detach().square(), shape).cpu()
        for name, linear in encoder_linears(classifier.encoder, cut).items()
    }


def random_scores(classifier: Classifier, seed: int, shape: str = "rows", cut: int = 0) -> dict[str, Tensor]:
    """The rival without sense: uniform numbers per weight, so that rows of every length have the same chance. Shapes as of `fisher`."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, linear in encoder_linears(classifier.encoder, cut).items():
        weights = _summed(torch.ones(linear.weight.shape), shape)
        found[name] = torch.rand(weights.shape, generator=generator) * weights
    return found


def _catcher(caught: dict[str, tuple[Tensor, Tensor]], name: str):  # type: ignore[no-untyped-def]
    def hook(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        # Weights are frozen: gradients are wanted for outputs only, from the lowest scored layer up.
        caught[name] = (args[0], output if output.requires_grad else output.requires_grad_())

    return hook


def _counted(positions: Positions | None, indices: Sequence[int], mask: Tensor) -> Tensor:
    counted = mask.clone()
    if positions is not None:
        for row, index in enumerate(indices):
            counted[row, : len(positions[index])] *= torch.tensor(positions[index], device=mask.device)
    return counted


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Summed, which keeps the examples' gradients apart: each row of the batch holds its own example's."""
    if targets.is_floating_point():
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    return F.cross_entropy(logits, targets, reduction="sum")


def _summed(weights: Tensor, shape: str) -> Tensor:
    """Sums over rows or columns of a matrix; entries stay as they are."""
    return weights if shape == "entries" else weights.sum(1 if shape == "rows" else 0)


def _add_squares(total: Tensor, x: Tensor, g: Tensor, counted: Tensor, shape: str) -> None:
    """Add to `total` the squared gradients of a batch's examples, from `x` [batch, T, in], `g` [batch, T, out], `counted` [batch, T]."""
    if shape == "entries":
        for example, kept in enumerate(counted.bool()):
            gradient = g[example, kept].mT @ x[example, kept]
            total.addcmul_(gradient, gradient)
        return
    g = g * counted.unsqueeze(-1)
    if shape == "rows":
        total += (g * ((x @ x.mT) @ g)).sum((0, 1))
    else:
        total += (x * ((g @ g.mT) @ x)).sum((0, 1))
