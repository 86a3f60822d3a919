"""A checkpoint of a training: one safetensors file with tensors, optimizer state and metadata."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from tokensieve.files import atomic_file

FILE = "checkpoint.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one training.

    Attributes:
        folder: The folder of the file.
        key: A hash of everything that the training depends on. Checkpoints with other keys are not
            used.
    """

    folder: Path
    key: str

    def save(self, tensors: dict[str, Tensor], optimizer: Optimizer, facts: dict[str, Any]) -> None:
        """Write named tensors, the state of the optimizer and JSON metadata, atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            f"optimizer.{i}.{name}": tensor
            for i, entry in optimizer.state_dict()["state"].items()
            for name, tensor in entry.items()
        }
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in (tensors | state).items()}
        with atomic_file(self.folder / FILE) as temporary:
            save_file(whole, temporary, metadata={"key": self.key, "facts": json.dumps(facts)})

    def load(self, optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Set the state of `optimizer`, and return the tensors and metadata that `save` wrote.

        If there is no checkpoint of this training, change nothing and return None.
        """
        try:
            with safe_open(self.folder / FILE, "pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("key") != self.key:
                    return None
                whole = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        except (FileNotFoundError, SafetensorError):
            return None
        state: dict[int, dict[str, Tensor]] = {}
        for name in [name for name in whole if name.startswith("optimizer.")]:
            _, place, entry = name.split(".", 2)
            state.setdefault(int(place), {})[entry] = whole.pop(name)
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
        return whole, json.loads(metadata["facts"])

    def clear(self) -> None:
        """Delete the checkpoint. Call it after the result of the training is stored."""
        (self.folder / FILE).unlink(missing_ok=True)
