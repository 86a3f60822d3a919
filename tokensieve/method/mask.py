"""The mask: which rows, columns or entries of the linear layers are trained (step 4).

A budget limits the number of weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

# The name of the token ids in a mask file. It has a space, so it cannot be the name of a module.
TOKENS = "input embeddings"


@dataclass(frozen=True)
class Mask:
    """The part of the encoder that is trained.

    Attributes:
        shape: What is selected: rows, columns or entries.
        indices: The selected indices by module name, int64, ascending. Entry i of a weight [out,
            in] is in row i // in and column i % in.
        tokens: The ids of the tokens whose embeddings are trained too, int64, ascending.
    """

    shape: str
    indices: dict[str, Tensor]
    tokens: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def save(self, path: Path) -> None:
        """Write the mask as safetensors.

        The indices of a module are int32 if all of them fit, else int64.
        """
        tensors = self.indices | ({TOKENS: self.tokens} if len(self.tokens) else {})
        save_file(
            {name: _small(chosen) for name, chosen in tensors.items()}, path, metadata={"shape": self.shape}
        )

    @classmethod
    def load(cls, path: Path) -> Mask:
        """Return the mask that `save` wrote."""
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name).long() for name in sorted(file.keys())}
            tokens = tensors.pop(TOKENS, torch.empty(0, dtype=torch.int64))
            return cls(file.metadata()["shape"], tensors, tokens)


def unit_count(weight: Tensor, shape: str) -> int:
    """Return the number of rows, columns or entries of a weight [out, in], depending on `shape`."""
    return {"rows": weight.shape[0], "columns": weight.shape[1], "entries": weight.numel()}[shape]


def select_rows(
    scores: Mapping[str, Tensor], sizes: Mapping[str, int], budget: int, shape: str = "rows"
) -> Mask:
    """Select the rows (or columns) with the highest score per weight, within the budget.

    Rows of all modules compete. A row that no longer fits is skipped, and a shorter row may follow.
    Ties are broken by module name and index, so the same scores give the same mask.

    Args:
        scores: By module name, float32 [rows or columns].
        sizes: The number of weights of one row (or column) of each module.
        budget: The number of weights to select, at most.
        shape: rows or columns.
    """
    names = sorted(scores)
    density = torch.cat([scores[name].double() / sizes[name] for name in names])
    order = torch.sort(density, descending=True, stable=True).indices
    weights = torch.cat([torch.full((len(scores[name]),), sizes[name]) for name in names])
    taken = torch.zeros(len(order), dtype=torch.bool)
    taken[order[_fitting(weights[order], budget)]] = True
    return _of_parts(shape, dict(zip(names, taken.split([len(scores[name]) for name in names]), strict=True)))


def select_entries(scores: Mapping[str, Tensor], budget: int) -> Mask:
    """Select the `budget` single weights with the highest scores of all modules.

    Ties are broken by module name and index. This takes the memory of one copy of the scores,
    because the lowest selected score is found by partition instead of sorting.

    Args:
        scores: By module name, float32 [out, in].
        budget: The number of weights to select, at least 1.
    """
    names = sorted(scores)
    flat = np.concatenate([scores[name].numpy().ravel() for name in names])
    cut = max(0, len(flat) - budget)
    flat.partition(cut)
    lowest = flat[cut].item()
    ties = budget - int((flat > lowest).sum())
    parts = {}
    for name in names:
        flat_scores = scores[name].flatten()
        parts[name] = flat_scores > lowest
        level = (flat_scores == lowest).nonzero().flatten()[:ties]
        parts[name][level] = True
        ties -= len(level)
    return _of_parts("entries", parts)


def _fitting(weights: Tensor, budget: int) -> Tensor:
    """Return the indices, int64, of the `weights` that fit into `budget` if taken in their order.

    Each round takes all weights in sequence until one does not fit. A weight that is larger than
    the remaining budget never fits again, so there are at most as many rounds as distinct weights.
    """
    taken, positions = [torch.empty(0, dtype=torch.int64)], torch.arange(len(weights))
    while len(positions := positions[weights[positions] <= budget]):
        used = weights[positions].cumsum(0)
        count = int((used <= budget).sum())
        taken.append(positions[:count])
        budget -= int(used[count - 1])
        positions = positions[count:]
    return torch.cat(taken)


def _of_parts(shape: str, parts: Mapping[str, Tensor]) -> Mask:
    """Return the mask from booleans by module name, without modules that have nothing selected."""
    return Mask(shape, {name: part.nonzero().flatten() for name, part in parts.items() if part.any()})


def _small(chosen: Tensor) -> Tensor:
    return chosen.int() if (chosen <= torch.iinfo(torch.int32).max).all() else chosen
