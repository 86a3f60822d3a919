"""The mask: which rows or columns of which linear layers are trained, under a budget of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor


@dataclass(frozen=True)
class Mask:
    """Selected indices (int64, ascending) by module name; `shape` says whether they are rows or columns."""

    shape: str
    indices: dict[str, Tensor]

    def save(self, path: Path) -> None:
        """Write as safetensors, indices as int32."""
        save_file({name: chosen.to(torch.int32) for name, chosen in self.indices.items()}, path, metadata={"shape": self.shape})

    @classmethod
    def load(cls, path: Path) -> Mask:
        """What `save` wrote."""
        with safe_open(path, "pt") as file:
            return cls(file.metadata()["shape"], {name: file.get_tensor(name).long() for name in sorted(file.keys())})


def select(scores: Mapping[str, Tensor], sizes: Mapping[str, int], budget: int, shape: str = "rows") -> Mask:
    """The rows (or columns) with the highest score a weight, until they hold `budget` weights together.

    `sizes` gives the weights of one row (or column) of each module. One list for the whole model, so layers compete. A row
    that no longer fits is passed over for a shorter one. Ties go by module name and index: the same scores give the same mask.
    """
    names = sorted(scores)
    density = torch.cat([scores[name].double() / sizes[name] for name in names])
    module = torch.cat([torch.full((len(scores[name]),), i) for i, name in enumerate(names)])
    index = torch.cat([torch.arange(len(scores[name])) for name in names])
    order = torch.sort(density, descending=True, stable=True).indices
    weights = torch.tensor([sizes[name] for name in names])[module[order]]
    taken = torch.zeros(len(order), dtype=torch.bool)
    left = budget
    for place, size in enumerate(weights.tolist()):
        if size <= left:
            taken[place] = True
            left -= size
    chosen = order[taken]
    indices = {name: index[chosen[module[chosen] == i]].sort().values for i, name in enumerate(names)}
    return Mask(shape, {name: rows for name, rows in indices.items() if len(rows)})
