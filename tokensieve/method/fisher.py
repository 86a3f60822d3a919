"""Fisher scores: how much the loss depends on each row, column or entry of a linear layer (step 3).

The score of a weight is the sum of its squared gradients, one gradient per example: the empirical
Fisher information. Only tokens that belong to a construct count. Scores of rows and columns need no
gradient of a weight. One example has activations X [T, in], output gradients G [T, out], and the
gradient Gᵀ X. The row sums of (Gᵀ X)² are the column sums of G * ((X Xᵀ) G), and its column sums
are those of X * ((G Gᵀ) X).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tokensieve.bars import Bar
from tokensieve.method.probe import StateRecorder
from tokensieve.model.batches import Inputs, batches_by_length
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_linears

# Tokens per batch. There are fewer than for predictions, because gradients need the states of every
# layer. With 8,192 on a GPU, scoring took twice the memory of training all weights. On a CPU,
# matrix products are equally fast from 32 rows on, and small batches need less padding.
TOKENS_PER_SCORING_BATCH = {"cpu": 256, "cuda": 1024}

Positions = Mapping[int, Sequence[bool]] | Sequence[Sequence[bool]]
"""Whether each token of a text counts, by the index of the text."""


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
    """Return the scores of the linear layers from layer `cut` up, by module name.

    They are float32 [out] for rows, [in] for columns and [out, in] for entries.

    Args:
        classifier: Its encoder's weights do not require gradients.
        inputs: The texts. If they are cached states, these enter layer `cut` or a lower one.
        targets: int64 [inputs] for cross entropy, or for multi-label data float32 [inputs, classes]
            of 0 and 1, for binary cross entropy summed over the classes.
        shape: rows, columns or entries. Only entries need the weight gradient Gᵀ X [out, in]. It is
            computed for one text and one layer at a time, to save memory.
        positions: Whether each token of each scored text counts. If None, all tokens count.
        cut: The lowest layer that is scored.
        texts: The indices of the texts that are scored. If None, all texts are.
        recorder: An entered recorder that records the states of these texts.
    """
    scored = range(len(inputs)) if texts is None else texts
    linears = encoder_linears(classifier.encoder, cut)
    totals = {
        name: torch.zeros_like(_summed(linear.weight.detach(), shape)) for name, linear in linears.items()
    }
    classifier.eval()
    progress = Bar(name="scoring weights", unit="text", total=len(scored))
    with progress, _recorded(linears) as recorded:
        for rows in batches_by_length([inputs.lengths[i] for i in scored], _tokens_per_batch(inputs)):
            indices = [scored[row] for row in rows]
            batch = inputs.batch(indices)
            counted = _counting_mask(positions, indices, batch.attention_mask)
            loss = _loss(batch.logits(classifier), targets[indices].to(inputs.device))
            if recorder:
                recorder.record(rows, batch.attention_mask)
            _add_gradients(totals, recorded, loss, counted, shape)
            progress.update(len(indices))
    return {name: total.cpu() for name, total in totals.items()}


def magnitude_scores(classifier: Classifier, shape: str = "rows", cut: int = 0) -> dict[str, Tensor]:
    """Return the scores of the baseline magnitude: squared weights, summed over rows or columns.

    They have the shapes of those of `fisher_scores`.
    """
    return {
        name: _summed(linear.weight.detach().square(), shape).cpu()
        for name, linear in encoder_linears(classifier.encoder, cut).items()
    }


def random_scores(classifier: Classifier, seed: int, shape: str = "rows", cut: int = 0) -> dict[str, Tensor]:
    """Return the scores of the baseline random, with the shapes of those of `fisher_scores`.

    A score is a uniform random number times the number of weights in the unit, so that the length
    of a row does not matter.
    """
    generator = torch.Generator().manual_seed(seed)
    scores = {}
    for name, linear in encoder_linears(classifier.encoder, cut).items():
        weights = _summed(torch.ones(linear.weight.shape), shape)
        scores[name] = torch.rand(weights.shape, generator=generator) * weights
    return scores


@contextmanager
def _recorded(linears: Mapping[str, nn.Linear]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """Yield a dict that gets the input and the output of each layer in every forward pass."""
    recorded: dict[str, tuple[Tensor, Tensor]] = {}

    def record(name: str, _: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        # Weights are frozen. Only outputs need gradients, from the lowest scored layer up.
        recorded[name] = (args[0], output if output.requires_grad else output.requires_grad_())

    handles = [linear.register_forward_hook(partial(record, name)) for name, linear in linears.items()]
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


def _tokens_per_batch(inputs: Inputs) -> int:
    device = "cpu" if inputs.device.type == "cpu" else "cuda"
    return min(inputs.tokens_per_batch, TOKENS_PER_SCORING_BATCH[device])


def _counting_mask(positions: Positions | None, indices: Sequence[int], mask: Tensor) -> Tensor:
    counted = mask.clone()
    if positions is not None:
        for row, index in enumerate(indices):
            counted[row, : len(positions[index])] *= torch.tensor(positions[index], device=mask.device)
    return counted


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the sum of the losses. With a sum, the gradient of each row is that of its example."""
    if targets.is_floating_point():
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    return F.cross_entropy(logits, targets, reduction="sum")


def _summed(weights: Tensor, shape: str) -> Tensor:
    """Return the sum of each row or each column of a matrix; for entries, the matrix itself."""
    return weights if shape == "entries" else weights.sum(1 if shape == "rows" else 0)


def _add_gradients(
    totals: Mapping[str, Tensor],
    recorded: dict[str, tuple[Tensor, Tensor]],
    loss: Tensor,
    counted: Tensor,
    shape: str,
) -> None:
    """Add the squared gradients of `loss` to the totals of the recorded layers.

    Clear `recorded`.
    """
    gradients = torch.autograd.grad(loss, [output for _, output in recorded.values()])
    for (name, (x, _)), g in zip(recorded.items(), gradients, strict=True):
        _add_squares(totals[name], x.detach(), g, counted, shape)
    recorded.clear()


def _add_squares(total: Tensor, x: Tensor, g: Tensor, counted: Tensor, shape: str) -> None:
    """Add the squared gradients of a batch's examples to `total`.

    Args:
        total: The scores of one layer, changed in place.
        x: Activations [batch, T, in].
        g: Output gradients [batch, T, out].
        counted: 1 for the tokens that count, [batch, T].
        shape: rows, columns or entries.
    """
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
