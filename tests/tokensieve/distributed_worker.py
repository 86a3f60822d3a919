"""Small trainings that must come out the same in one process and in several; a program that
torchrun starts.

    torchrun --standalone --nproc-per-node 2 tests/tokensieve/distributed_worker.py MODEL DATA
    OUTPUT

Each process writes `OUTPUT/RANK.safetensors`: the weights of each training, and their histories as
metadata.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from tokensieve import distributed
from tokensieve.data.labels import class_names, encode_targets
from tokensieve.data.raw_data import read_examples
from tokensieve.method.mask import Mask
from tokensieve.model.batches import Inputs
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_linears, load_encoder, load_tokenizer
from tokensieve.model.state_cache import tokenize_file
from tokensieve.settings import Finetune
from tokensieve.training import steps
from tokensieve.training.checkpoint import Checkpoint
from tokensieve.training.loop import train_masked, train_parameters
from tokensieve.training.schedule import Schedule

# With 41 texts, one batch per epoch has a single text.
SETTINGS = {"max_epochs": 3, "batch_size": 8, "learning_rate": 3e-3, "head_learning_rate": 1e-2}


class Interrupted(Exception):  # noqa: N818 - it stands for a signal
    pass


class Trainings:
    """Trains a new classifier each time, on the texts of a file."""

    def __init__(self, model: Path, data: Path, scratch: Path) -> None:
        self.model, self.scratch = model, scratch
        labels = read_examples(data).labels
        self.labels = class_names(labels)
        inputs = tokenize_file(data, load_tokenizer(model), 32, scratch / "ids")
        self.targets = encode_targets(labels, self.labels, multi_label=False)
        self.training = self.take(inputs, [i for i in range(len(inputs)) if i % 3][:41])
        self.validation = self.take(inputs, list(range(0, len(inputs), 3)))

    def take(self, inputs: Inputs, places: list[int]) -> tuple[Inputs, torch.Tensor]:
        return Inputs([inputs.token_ids(i).tolist() for i in places]), self.targets[places]

    def classifier(self, dropout: bool = False) -> Classifier:
        encoder = load_encoder(self.model)
        torch.manual_seed(0)
        made = Classifier(encoder, "mean", self.labels).eval()
        for module in made.modules():
            if isinstance(module, nn.Dropout) and not dropout:
                module.p = 0.0
        return made

    def sparse(
        self, first: int = 2, dropout: bool = False, several: bool = False, **changes: Any
    ) -> tuple[Classifier, list[Any]]:
        classifier = self.classifier(dropout)
        chosen = {
            name: torch.arange(0, linear.out_features, 3)
            for name, linear in encoder_linears(classifier.encoder, first).items()
        }
        named = {"schedule", "checkpoint"}
        settings = Finetune(**(SETTINGS | {key: value for key, value in changes.items() if key not in named}))
        pairs = [
            (inputs, F.one_hot(wanted, 5).float() if several else wanted)
            for inputs, wanted in (self.training, self.validation)
        ]
        rest = {key: value for key, value in changes.items() if key in named}
        return classifier, train_masked(classifier, Mask("rows", chosen), *pairs, settings, 0, **rest)

    def dense(self) -> tuple[Classifier, list[Any]]:
        """All weights, of which those of the embeddings and lower layers get no gradient once they
        are frozen.
        """
        classifier = self.classifier()
        return classifier, train_parameters(
            classifier,
            dict(classifier.named_parameters()),
            self.training,
            self.validation,
            Finetune(**SETTINGS),
            0,
            Schedule(2, range(1)),
        )

    def stopped(self) -> tuple[Classifier, list[Any]]:
        """Validated against wrong answers, it gets worse as it learns, and stops."""
        inputs, wanted = self.validation
        self.validation = inputs, (wanted + 1) % 5
        try:
            return self.sparse(max_epochs=30, patience=1, warmup=0.0)
        finally:
            self.validation = inputs, wanted

    def resumed(self) -> tuple[Classifier, list[Any]]:
        """The training "frozen", interrupted after two epochs."""
        given = {"first": 0, "schedule": Schedule(2, range(1), folder=self.scratch / "resumed", key="key")}
        checkpoint, batches, begun = Checkpoint(self.scratch / "checkpoint", "key"), steps.shuffled_batches, 0

        def interrupted(*arguments: Any) -> Any:
            nonlocal begun
            begun += 1
            if begun == 3:
                raise Interrupted
            return batches(*arguments)

        steps.shuffled_batches = interrupted
        try:
            self.sparse(checkpoint=checkpoint, **given)
        except Interrupted:
            steps.shuffled_batches = batches
        distributed.all_agree()
        return self.sparse(checkpoint=checkpoint, **given)

    def all(self) -> dict[str, tuple[Classifier, list[Any]]]:
        return {
            "rows": self.sparse(),
            "balanced": self.sparse(class_weights="balanced"),
            "several": self.sparse(several=True, class_weights="balanced"),
            "frozen": self.sparse(
                first=0, schedule=Schedule(2, range(1), folder=self.scratch / "frozen", key="key")
            ),
            "memory": self.sparse(first=0, schedule=Schedule(2, range(1))),
            "opened": self.sparse(first=0, schedule=Schedule(2, range(1, 2))),
            "resumed": self.resumed(),
            "dense": self.dense(),
            "stopped": self.stopped(),
            "dropout": self.sparse(dropout=True),
        }


def main() -> None:
    model, data, output = map(Path, sys.argv[1:])
    torch.set_num_threads(1)
    with distributed.worker():
        found = Trainings(model, data, output).all()
        weights = {
            f"{name}.{key}": tensor.clone()
            for name, (made, _) in found.items()
            for key, tensor in made.state_dict().items()
        }
        histories = {name: json.dumps(history) for name, (_, history) in found.items()}
        save_file(weights, output / f"{distributed.rank()}.safetensors", metadata=histories)


if __name__ == "__main__":
    main()
