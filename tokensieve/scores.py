"""Scores of rows or columns of each linear layer: which of the model's own weights a task is sensitive to.

The score of a weight is its squared gradient, an example at a time (empirical Fisher information), summed over the examples;
only positions whose tokens belong to a construct count (step 3 of the method). No gradient of a weight is formed: with
activations X [T, in] and output gradients G [T, out] of one example, the row sums of (Gᵀ X)² are the column sums of
G * ((X Xᵀ) G), and the column sums are those of X * ((G Gᵀ) X).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from tokensieve.base import linears_of
from tokensieve.classifier import Classifier
from tokensieve.inputs import Inputs, by_length


def fisher(
    classifier: Classifier,
    inputs: Inputs,
    targets: Tensor,
    shape: str = "rows",
    positions: Sequence[Sequence[bool]] | None = None,
    cut: int = 0,
    texts: Sequence[int] | None = None,
) -> dict[str, Tensor]:
    """Scores of the rows (or columns) of every linear layer from layer `cut` up, by module name, float32 [out] (or [in]).

    `targets` int64 [inputs]; `positions` tells for each token of each text whether it counts, None for all; `texts` are the
    indices of those that are scored, None for all.
    """
    scored = range(len(inputs)) if texts is None else texts
    linears = linears_of(classifier.encoder, cut)
    totals = {name: torch.zeros(linear.weight.shape[0 if shape == "rows" else 1]) for name, linear in linears.items()}
    caught: dict[str, tuple[Tensor, Tensor]] = {}
    handles = [linear.register_forward_hook(_catcher(caught, name)) for name, linear in linears.items()]
    classifier.eval()
    try:
        with tqdm(total=len(scored), desc="scoring weights", unit="text", leave=False, disable=None) as bar:
            for places in by_length([inputs.lengths[i] for i in scored]):
                indices = [scored[place] for place in places]
                batch = inputs.batch(indices)
                counted = _counted(positions, indices, batch.mask)
                # The sum keeps the examples' gradients apart: each row of the batch holds its own example's.
                loss = F.cross_entropy(batch.logits(classifier), targets[indices].to(inputs.device), reduction="sum")
                gradients = torch.autograd.grad(loss, [output for _, output in caught.values()])
                for (name, (x, _)), g in zip(caught.items(), gradients, strict=True):
                    totals[name] += _squared(x.detach(), g * counted, shape).cpu()
                caught.clear()
                bar.update(len(indices))
    finally:
        for handle in handles:
            handle.remove()
    return totals


def magnitude(classifier: Classifier, shape: str = "rows", cut: int = 0) -> dict[str, Tensor]:
    """The rival without data: squared weights, summed over rows (or columns)."""
    return {
        name: linear.weight.detach().square().sum(1 if shape == "rows" else 0).cpu()
        for name, linear in linears_of(classifier.encoder, cut).items()
    }


def random(classifier: Classifier, seed: int, shape: str = "rows", cut: int = 0) -> dict[str, Tensor]:
    """The rival without sense: uniform numbers per weight, so that rows of every length have the same chance."""
    generator = torch.Generator().manual_seed(seed)
    along = 0 if shape == "rows" else 1
    return {
        name: torch.rand(linear.weight.shape[along], generator=generator) * linear.weight.shape[1 - along]
        for name, linear in linears_of(classifier.encoder, cut).items()
    }


def _catcher(caught: dict[str, tuple[Tensor, Tensor]], name: str):  # type: ignore[no-untyped-def]
    def hook(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        # Weights are frozen: gradients are wanted for outputs only, from the lowest scored layer up.
        caught[name] = (args[0], output if output.requires_grad else output.requires_grad_())

    return hook


def _counted(positions: Sequence[Sequence[bool]] | None, indices: Sequence[int], mask: Tensor) -> Tensor:
    counted = mask.clone()
    if positions is not None:
        for row, index in enumerate(indices):
            counted[row, : len(positions[index])] *= torch.tensor(positions[index], device=mask.device)
    return counted.unsqueeze(-1).float()


def _squared(x: Tensor, g: Tensor, shape: str) -> Tensor:
    if shape == "rows":
        return (g * ((x @ x.mT) @ g)).sum((0, 1))
    return (x * ((g @ g.mT) @ x)).sum((0, 1))
