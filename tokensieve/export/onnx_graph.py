"""Export a classifier as an ONNX graph, and fuse its operators if ONNX Runtime supports the family.

The number of texts and their length are dynamic. But all texts of a run have equal length, because
the graph has no attention mask as input (`session.py`). The TorchScript exporter is used with eager
attention: only then does the optimizer of ONNX Runtime recognize attention and fuse it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from onnx import ModelProto, helper
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions
from torch import Tensor, nn
from transformers import PreTrainedConfig

from tokensieve.inference.session import IDS, LOGITS
from tokensieve.model.classifier import Classifier

OPSET = 17
DOMAIN = "com.microsoft"  # the domain of the operators of ONNX Runtime itself
# The model families that onnxruntime.transformers fuses as BERT.
FUSED = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "mpnet")

Axes = Mapping[str, Mapping[int, str]]


class _Graph(nn.Module):
    """The classifier from token ids, int64 [batch, length], to logits, float32 [batch, classes]."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.classifier(input_ids, torch.ones_like(input_ids))


def export_onnx(model: Path, path: Path) -> PreTrainedConfig:
    """Write the ONNX graph of the classifier in folder `model` to the file `path`.

    Returns:
        The configuration of the encoder.
    """
    classifier = Classifier.load(model, attention="eager")
    axes = {IDS: {0: "batch", 1: "length"}, LOGITS: {0: "batch"}}
    write_graph(_Graph(classifier), (torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]),), path, [LOGITS], axes)
    return classifier.encoder.config


def write_graph(
    graph: nn.Module, example: tuple[Tensor, ...], path: Path, outputs: Sequence[str], axes: Axes
) -> None:
    """Trace `graph` on `example` and write it to `path`.

    `axes` has the dynamic axes of each input and output by name. The names that are not in
    `outputs` are those of the inputs.
    """
    with torch.inference_mode(), warnings.catch_warnings():
        # The exporter warns that it is deprecated, and that there are Python branches. These do not
        # depend on the values of the inputs.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.eval(),
            example,
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=[name for name in axes if name not in outputs],
            output_names=list(outputs),
            dynamic_axes=axes,
        )


def fuse(
    plain: Path, config: PreTrainedConfig, attention: bool = True, embeddings: bool = True
) -> ModelProto:
    """Return the graph in the file `plain` with norms and activations as one operator each.

    With `attention`, each attention is one operator too, with `embeddings` the sum and the norm of
    the embeddings.
    """
    logging.getLogger("onnxruntime.transformers").setLevel(logging.WARNING)
    options = FusionOptions("bert")
    options.enable_attention, options.enable_embed_layer_norm = attention, embeddings
    heads, width = config.num_attention_heads, config.hidden_size
    model = optimizer.optimize_model(
        str(plain), "bert", heads, width, optimization_options=options, opt_level=0
    ).model
    return allow_own_operators(model)


def remove_unused_weights(model: ModelProto) -> None:
    """Remove the initializers of `model` that no node uses."""
    used = {name for node in model.graph.node for name in node.input}
    kept = [item for item in model.graph.initializer if item.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def allow_own_operators(model: ModelProto) -> ModelProto:
    """Allow the operators of ONNX Runtime itself in `model`, and return it."""
    if all(item.domain != DOMAIN for item in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return model
