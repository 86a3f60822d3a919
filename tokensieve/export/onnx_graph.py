"""ONNX export of a classifier, and the fusion of its attention where ONNX Runtime knows the family.

Number of texts and length are dynamic, but all texts of a run have equal length: the graph takes no mask (`session.py`).
The TorchScript exporter with eager attention is the route after which ONNX Runtime's optimizer still finds the attention
pattern to fuse. Not here: int8 and the other variants (`build_variants.py`).
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
DOMAIN = "com.microsoft"  # of ONNX Runtime's own operators
# Families whose graphs onnxruntime.transformers fuses as BERT.
FUSED = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "mpnet")

Axes = Mapping[str, Mapping[int, str]]


class _Graph(nn.Module):
    """The classifier as the served graph: int64 [batch, length] in, float32 [batch, classes] out."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.classifier(input_ids, torch.ones_like(input_ids))


def export_onnx(model: Path, path: Path) -> PreTrainedConfig:
    """Write the plain ONNX graph of the classifier in folder `model` to `path`; returns the encoder's configuration."""
    classifier = Classifier.load(model, attention="eager")
    axes = {IDS: {0: "batch", 1: "length"}, LOGITS: {0: "batch"}}
    write_graph(_Graph(classifier), (torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]),), path, [LOGITS], axes)
    return classifier.encoder.config


def write_graph(
    graph: nn.Module, example: tuple[Tensor, ...], path: Path, outputs: Sequence[str], axes: Axes
) -> None:
    """Write `graph` as traced on `example`; its inputs are the names in `axes` that are no `outputs`."""
    with torch.inference_mode(), warnings.catch_warnings():
        # The exporter warns of its own deprecation and of Python branches that do not depend on the inputs' values.
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


def fused(plain: Path, config: PreTrainedConfig, attention: bool = True) -> ModelProto:
    """The graph at `plain` with norms and activations, and `attention` if so asked, each one operator."""
    logging.getLogger("onnxruntime.transformers").setLevel(logging.WARNING)
    options = FusionOptions("bert")
    options.enable_attention = attention
    heads, width = config.num_attention_heads, config.hidden_size
    model = optimizer.optimize_model(
        str(plain), "bert", heads, width, optimization_options=options, opt_level=0
    ).model
    return with_own_operators(model)


def with_own_operators(model: ModelProto) -> ModelProto:
    """`model`, which may hold ONNX Runtime's own operators."""
    if all(item.domain != DOMAIN for item in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return model
