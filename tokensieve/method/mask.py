"""The mask: which rows, columns or entries of which linear layers are trained, under a budget of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

TOKENS = "input embeddings"  # the name of the tokens in a file; no module's, which has no space


@dataclass(frozen=True)
class Mask:
    """Selected indices (int64, ascending) by module name; `shape` says of what: "rows", "columns" or "entries".

    Entries of a weight [out, in] are counted row by row: entry i stands at row i // in, column i % in. `tokens` are the ids (int64,
    ascending) of tokens whose embedding is trained as well.
    """

    shape: str
    indices: dict[str, Tensor]
    tokens: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def save(self, path: Path) -> None:
        """Write as safetensors, a module's indices as int32 if all of them fit, else as int64."""
        tensors = self.indices | ({TOKENS: self.tokens} if len(self.tokens) else {})
        save_file(
            {name: _small(chosen) for name, chosen in tensors.items()}, path, metadata={"shape": self.shape}
        )

    @classmethod
    def load(cls, path: Path) -> Mask:
        """What `save` wrote."""
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name).long() for name in sorted(file.keys())}
            tokens = tensors.pop(TOKENS, torch.empty(0, dtype=torch.int64))
            return cls(file.metadata()["shape"], tensors, tokens)


def unit_count(weight: Tensor, shape: str) -> int:
    """How many rows, columns or entries a weight [out, in] has: what the indices of a mask of `shape` count."""
    return {"rows": weight.shape[0], "columns": weight.shape[1], "entries": weight.numel()}[shape]


def select_rows(
    scores: Mapping[str, Tensor], sizes: Mapping[str, int], budget: int, shape: str = "rows"
) -> Mask:
    """The rows (or columns) with the highest score a weight, until they hold `budget` weights together.

    `sizes` gives the weights of one row (or column) of each module. One list for the whole model, so layers compete. A row
    that no longer fits is passed over for a shorter one. Ties go by module name and index: the same scores give the same mask.
    """
    names = sorted(scores)
    density = torch.cat([scores[name].double() / sizes[name] for name in names])
    order = torch.sort(density, descending=True, stable=True).indices
    weights = torch.cat([torch.full((len(scores[name]),), sizes[name]) for name in names])
    taken = torch.zeros(len(order), dtype=torch.bool)
    taken[order[_fitting(weights[order], budget)]] = True
    return _of_parts(shape, dict(zip(names, taken.split([len(scores[name]) for name in names]), strict=True)))


def select_entries(scores: Mapping[str, Tensor], budget: int) -> Mask:
    """The `budget` (at least 1) single weights with the highest scores of the whole model, from float32 [out, in] by module name.

    Ties go by module name and index. Beside the scores it takes one copy of them: the lowest score that is in is found by
    partition, not by sorting, and the entries by comparison with it.
    """
    names = sorted(scores)
    flat = np.concatenate([scores[name].numpy().ravel() for name in names])
    place = max(0, len(flat) - budget)
    flat.partition(place)
    lowest = flat[place].item()
    ties = budget - int((flat > lowest).sum())
    parts = {}
    for name in names:
        found = scores[name].flatten()
        parts[name] = found > lowest
        level = (found == lowest).nonzero().flatten()[:ties]
        parts[name][level] = True
        ties -= len(level)
    return _of_parts("entries", parts)


def _fitting(weights: Tensor, budget: int) -> Tensor:
    """Places of those that fit when `weights` are taken in their order while `budget` lasts, int64.

    All that fit in a row are taken at once. What is larger than the rest of the budget then never fits again, so there are no
    more rounds than there are different weights.
    """
    taken, places = [torch.empty(0, dtype=torch.int64)], torch.arange(len(weights))
    while len(places := places[weights[places] <= budget]):
        used = weights[places].cumsum(0)
        count = int((used <= budget).sum())
        taken.append(places[:count])
        budget -= int(used[count - 1])
        places = places[count:]
    return torch.cat(taken)


def _of_parts(shape: str, parts: Mapping[str, Tensor]) -> Mask:
    """The mask of booleans by module name; modules of which nothing is selected are left out."""
    return Mask(shape, {name: part.nonzero().flatten() for name, part in parts.items() if part.any()})


def _small(chosen: Tensor) -> Tensor:
    return chosen.int() if (chosen <= torch.iinfo(torch.int32).max).all() else chosen
