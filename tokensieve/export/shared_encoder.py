"""Split classifiers of one base model into the layers that they share, and the rest of each.

Shared layers are found by comparing the weights bit by bit, so it does not matter how the models
were trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from tokensieve.bars import Bar
from tokensieve.errors import InputError, excerpt
from tokensieve.export.build_variants import build
from tokensieve.export.onnx_graph import write_graph
from tokensieve.files import read_json, sha256
from tokensieve.inference.manifest import TOKENIZER
from tokensieve.inference.session import IDS, LOGITS, STATES, load_engine
from tokensieve.inference.shared_predictor import PREFIX, suffix_name
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_layers
from tokensieve.truncation import HEAD

SIZES = {0: "batch", 1: "length"}


class _Prefix(nn.Module):
    """The part below layer `cut`, from token ids to the states that enter it.

    Token ids are int64 [batch, length], states float32 [batch, length, width].
    """

    def __init__(self, classifier: Classifier, cut: int) -> None:
        super().__init__()
        self.classifier, self.cut = classifier, cut

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.classifier.hidden_states_at(input_ids, torch.ones_like(input_ids), self.cut)


class _Suffix(nn.Module):
    """The part from layer `cut` up, from the states of `_Prefix` to logits [batch, classes]."""

    def __init__(self, classifier: Classifier, cut: int) -> None:
        super().__init__()
        self.classifier, self.cut = classifier, cut

    def forward(self, states: Tensor) -> Tensor:
        mask = torch.ones_like(states[:, :, 0], dtype=torch.int64)
        return self.classifier.head(
            self.classifier.pool(self.classifier.last_hidden_state_from(states, mask, self.cut), mask)
        )


def common_layers(models: Mapping[str, Path]) -> int:
    """Return the number of layers, from the bottom, that the classifiers in these folders share.

    The embeddings below the layers must be equal too.

    Raises:
        InputError: If there are fewer than two models, or if they share no layer. The message names
            the difference: the tokenizer, the length, the shape or a weight.
    """
    if len(models) < 2:
        raise InputError(f"one model ({', '.join(models)}) shares nothing; give two or more")
    (first, folder), *others = models.items()
    mine = Classifier.load(folder)
    prefix = next(
        name for name, module in mine.encoder.named_modules() if module is encoder_layers(mine.encoder)
    )
    common = len(encoder_layers(mine.encoder))
    for name, other in others:
        reason = _unlike(folder, other)
        if reason:
            raise InputError(
                f"{name} and {first} share no layers: {reason}; train both from the same base.model with the "
                "same settings"
            )
        different = _different(mine, Classifier.load(other))
        outside = [tensor for tensor in different if not tensor.startswith(f"{prefix}.")]
        if outside:
            raise InputError(
                f"{name} and {first} share no layers: their {outside[0]} differs; it must not be trained"
            )
        common = min(
            [common, *(int(tensor.removeprefix(f"{prefix}.").split(".")[0]) for tensor in different)]
        )
        if not common:
            tensor = next(tensor for tensor in different if tensor.startswith(f"{prefix}.0."))
            raise InputError(
                f"{name} and {first} share no layers: their {tensor} differs; train both with "
                "schedule.frozen_layers above 0"
            )
    return common


def export_prefix(model: Path, cut: int, path: Path) -> None:
    """Write the graph of the part below layer `cut`, of the classifier in folder `model`."""
    example = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]])
    write_graph(
        _Prefix(Classifier.load(model, "eager"), cut), (example,), path, [STATES], {IDS: SIZES, STATES: SIZES}
    )


def export_suffix(model: Path, cut: int, path: Path) -> None:
    """Write the graph of the part from layer `cut` up, of the classifier in folder `model`."""
    classifier = Classifier.load(model, "eager")
    example = torch.randn(
        2, 5, classifier.encoder.config.hidden_size, generator=torch.Generator().manual_seed(0)
    )
    write_graph(_Suffix(classifier, cut), (example,), path, [LOGITS], {STATES: SIZES, LOGITS: {0: "batch"}})


def plain_graphs(models: Mapping[str, Path], cut: int, folder: Path) -> dict[str, Path]:
    """Write the graphs as PyTorch exports them into `folder`.

    Returns:
        Their paths, by their file names in a shared folder.
    """
    paths = {name: folder / name for name in (PREFIX, *map(suffix_name, models))}
    export_prefix(next(iter(models.values())), cut, paths[PREFIX])
    for name, model in Bar(models.items(), "graphs", "task"):
        export_suffix(model, cut, paths[suffix_name(name)])
    return paths


def build_shared(
    plain: Mapping[str, Path],
    config: PreTrainedConfig,
    variant: str,
    samples: Mapping[str, list[list[int]]],
    folder: Path,
) -> None:
    """Write a variant of the graphs `plain` into `folder`.

    `samples` has the token ids of some texts per task. int8 scales are computed from them.
    """
    prefix = load_engine(plain[PREFIX], "fp32", 1, IDS, STATES)
    # The prefix gets as many texts as a suffix, with equal numbers of texts of each task.
    few = [ids for sample in samples.values() for ids in sample[: max(1, len(sample) // len(samples))]]
    build(plain[PREFIX], config, variant, few, folder / PREFIX)
    for name, sample in Bar(samples.items(), variant, "task"):
        states = [prefix.run(np.array([ids], dtype=np.int64))[0] for ids in sample]
        build(plain[suffix_name(name)], config, variant, states, folder / suffix_name(name))


def _unlike(model: Path, other: Path) -> str:
    """Return why the weights of two models cannot be compared; empty if they can."""
    mine, theirs = (read_json(folder / "classifier.json") for folder in (model, other))
    if mine["max_length"] != theirs["max_length"]:
        return f"they read {theirs['max_length']} and {mine['max_length']} tokens (base.max_length)"
    kept = [facts.get("truncation", HEAD) for facts in (theirs, mine)]
    if kept[0] != kept[1]:
        return f"of long texts they read {kept[0]} and {kept[1]} (base.truncation)"
    configs = [read_json(folder / "config.json") for folder in (model, other)]
    for key in sorted(configs[0].keys() | configs[1].keys()):
        if configs[0].get(key) != configs[1].get(key):
            return f"their {key} is {excerpt(configs[1].get(key))} and {excerpt(configs[0].get(key))}"
    if sha256(model / TOKENIZER) != sha256(other / TOKENIZER):
        return "their tokenizers differ (base.prompt, vocabulary.new_tokens)"
    return ""


def _different(mine: Classifier, other: Classifier) -> list[str]:
    """Return the names of the tensors of the encoder that differ in any bit."""
    theirs = other.encoder.state_dict()
    return [
        name for name, tensor in mine.encoder.state_dict().items() if not torch.equal(tensor, theirs[name])
    ]
