"""Sparse training in place: of a linear layer, only chosen rows or columns are trained, as one compact tensor.

No module is added to the model that remains: `attached` swaps linears for the time of the training and puts them back.
The backward pass forms gradients for the chosen rows or columns alone (step 5 of the method).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tokensieve.mask import Mask


class SparseLinear(nn.Module):
    """A linear layer [in -> out] of which `values` is trained: rows [k, in] (with `shifts`, their biases [k]) or columns [out, k].

    The layer's own weight is a buffer that always holds the current values: call `write` after each optimizer step.
    """

    weight: Tensor
    bias: Tensor | None
    chosen: Tensor

    def __init__(self, linear: nn.Linear, chosen: Tensor, shape: str) -> None:
        super().__init__()
        self.linear_features = (linear.in_features, linear.out_features)
        self.dim = 0 if shape == "rows" else 1
        self.register_buffer("weight", linear.weight.detach())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())
        self.register_buffer("chosen", chosen.to(linear.weight.device))
        self.values = nn.Parameter(self.weight.index_select(self.dim, self.chosen))
        self.shifts = nn.Parameter(self.bias[self.chosen]) if self.bias is not None and self.dim == 0 else None

    def forward(self, x: Tensor) -> Tensor:
        return _SparseProduct.apply(x, self.weight, self.bias, self.values, self.shifts, self.chosen, self.dim)

    @torch.no_grad()
    def write(self) -> None:
        """Copy the trained values into the layer's weight and bias."""
        self.weight.index_copy_(self.dim, self.chosen, self.values)
        if self.shifts is not None and self.bias is not None:
            self.bias.index_copy_(0, self.chosen, self.shifts)


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, values, shifts, chosen, dim):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, weight, chosen)
        ctx.dim = dim
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, g):  # type: ignore[no-untyped-def]
        x, weight, chosen = ctx.saved_tensors
        below = g @ weight.to(g.dtype) if ctx.needs_input_grad[0] else None
        flat_g, flat_x = g.flatten(0, -2), x.to(g.dtype).flatten(0, -2)
        if ctx.dim == 0:
            part = flat_g.index_select(1, chosen)
            values, shifts = part.mT @ flat_x, part.sum(0) if ctx.needs_input_grad[4] else None
        else:
            values, shifts = flat_g.mT @ flat_x.index_select(1, chosen), None
        return below, None, None, values.to(weight.dtype), None if shifts is None else shifts.to(weight.dtype), None, None


@contextmanager
def attached(encoder: nn.Module, mask: Mask) -> Iterator[dict[str, SparseLinear]]:
    """Within it, the masked linears of `encoder` train their masked part and nothing else of the encoder trains.

    On leaving, the linears stand where they stood, with the trained values in their own weights.
    """
    encoder.requires_grad_(False)
    linears: dict[str, Any] = {name: encoder.get_submodule(name) for name in mask.indices}
    sparse = {name: SparseLinear(linear, mask.indices[name], mask.shape) for name, linear in linears.items()}
    for name, module in sparse.items():
        encoder.set_submodule(name, module)
    try:
        yield sparse
    finally:
        for name, linear in linears.items():
            sparse[name].write()
            encoder.set_submodule(name, linear)
