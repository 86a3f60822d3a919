"""Sparse training in place: only selected rows, columns or entries of linear layers train (step 5).

The trained values of a layer are one compact tensor. Embeddings of selected tokens are trained in
the same way. `sparse_layers` replaces the layers during training and restores them afterwards, so
the trained model has no additional module. For rows and columns, the backward pass computes only
the gradients of the selected ones. For entries, it computes the whole gradient and gathers the
selected ones from it, which saves memory of the optimizer but no time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from tokensieve.method.mask import Mask


class SparseLinear(nn.Module):
    """A linear layer from `in` to `out` features of which only the selected part is trained.

    The layer's own weight is a buffer with the current values, so `write` must be called after each
    step of the optimizer.

    Attributes:
        weight: The whole weight, float32 [out, in].
        bias: The whole bias, float32 [out], or None.
        chosen: The indices of a `Mask`, int64 [k].
        values: The trained part: rows [k, in], columns [out, k] or entries [k].
        shifts: The trained biases [k] if rows are trained and there is a bias, otherwise None.
    """

    weight: Tensor
    bias: Tensor | None
    chosen: Tensor

    def __init__(self, linear: nn.Linear, chosen: Tensor, shape: str) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("weight", linear.weight.detach())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())
        self.register_buffer("chosen", chosen.to(linear.weight.device))
        lines, dim = _lines(self.weight, shape)
        self.values = nn.Parameter(lines.index_select(dim, self.chosen))
        self.shifts = (
            nn.Parameter(self.bias[self.chosen]) if self.bias is not None and shape == "rows" else None
        )

    def forward(self, x: Tensor) -> Tensor:
        return _SparseProduct.apply(
            x, self.weight, self.bias, self.values, self.shifts, self.chosen, self.shape
        )

    @torch.no_grad()
    def write(self) -> None:
        """Copy the trained values into the layer's weight and bias."""
        lines, dim = _lines(self.weight, self.shape)
        lines.index_copy_(dim, self.chosen, self.values)
        if self.shifts is not None and self.bias is not None:
            self.bias.index_copy_(0, self.chosen, self.shifts)


class SparseEmbedding(nn.Module):
    """Embeddings [tokens, width] of which only the rows of selected tokens are trained.

    `write` must be called after each step of the optimizer.

    Attributes:
        weight: All embeddings, float32 [tokens, width].
        chosen: The ids of the selected tokens, int64 [k].
        row_of: The row of each token in `values`, int64 [tokens]; -1 if it is not selected.
        values: The trained embeddings, float32 [k, width].
    """

    weight: Tensor
    chosen: Tensor
    row_of: Tensor

    def __init__(self, embedding: nn.Embedding, chosen: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", embedding.weight.detach())
        self.register_buffer("chosen", chosen.to(embedding.weight.device))
        row_of = torch.full((embedding.num_embeddings,), -1, device=embedding.weight.device)
        row_of[self.chosen] = torch.arange(len(chosen), device=embedding.weight.device)
        self.register_buffer("row_of", row_of)
        self.values = nn.Parameter(self.weight[self.chosen])

    def forward(self, ids: Tensor) -> Tensor:
        row_of = self.row_of[ids]
        trained = F.embedding(row_of.clamp(min=0), self.values)
        return torch.where((row_of < 0).unsqueeze(-1), F.embedding(ids, self.weight), trained)

    @torch.no_grad()
    def write(self) -> None:
        """Copy the trained embeddings into the weight."""
        self.weight.index_copy_(0, self.chosen, self.values)


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, values, shifts, chosen, shape):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, weight, chosen)
        ctx.shape = shape
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, g):  # type: ignore[no-untyped-def]
        x, weight, chosen = ctx.saved_tensors
        below = g @ weight.to(g.dtype) if ctx.needs_input_grad[0] else None
        flat_g, flat_x = g.flatten(0, -2), x.to(g.dtype).flatten(0, -2)
        shifts = None
        if ctx.shape == "rows":
            part = flat_g.index_select(1, chosen)
            values, shifts = part.mT @ flat_x, part.sum(0) if ctx.needs_input_grad[4] else None
        elif ctx.shape == "columns":
            values = flat_g.mT @ flat_x.index_select(1, chosen)
        else:
            values = (flat_g.mT @ flat_x).flatten().index_select(0, chosen)
        return (
            below,
            None,
            None,
            values.to(weight.dtype),
            None if shifts is None else shifts.to(weight.dtype),
            None,
            None,
        )


@contextmanager
def sparse_layers(
    encoder: PreTrainedModel, mask: Mask
) -> Iterator[dict[str, SparseLinear | SparseEmbedding]]:
    """Yield the sparse layers of `encoder` by module name, which replace its layers in the block.

    At the end of the block, the original modules are back, with the trained values in their
    weights.
    """
    encoder.requires_grad_(False)
    modules: dict[str, Any] = {name: encoder.get_submodule(name) for name in mask.indices}
    sparse: dict[str, Any] = {
        name: SparseLinear(linear, mask.indices[name], mask.shape) for name, linear in modules.items()
    }
    if len(mask.tokens):
        embedding: Any = encoder.get_input_embeddings()
        name = next(name for name, module in encoder.named_modules() if module is embedding)
        modules[name], sparse[name] = embedding, SparseEmbedding(embedding, mask.tokens)
    for name, module in sparse.items():
        encoder.set_submodule(name, module)
    try:
        yield sparse
    finally:
        for name, module in modules.items():
            sparse[name].write()
            encoder.set_submodule(name, module)


def _lines(weight: Tensor, shape: str) -> tuple[Tensor, int]:
    """Return a view of `weight`, and the dimension of the indices of a mask of `shape`."""
    return (weight.view(-1) if shape == "entries" else weight), (1 if shape == "columns" else 0)
