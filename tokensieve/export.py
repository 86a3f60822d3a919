"""ONNX export of a classifier: dynamic batch and length, attention fused where ONNX Runtime knows the family.

The TorchScript exporter with eager attention is the route after which ONNX Runtime's optimizer still finds the attention
pattern to fuse. Not here: int8 and fp16 variants.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from tokensieve.classifier import Classifier

OPSET = 17
# Families whose graphs onnxruntime.transformers fuses as BERT.
FUSED = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "mpnet")


class _Graph(nn.Module):
    """The classifier as the served graph: int64 [batch, length] twice in, float32 [batch, classes] out."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.classifier(input_ids, attention_mask)


def export_onnx(model: Path, path: Path) -> None:
    """Write the ONNX graph of the classifier in folder `model` to `path`, optimized."""
    graph = _Graph(Classifier.load(model, attention="eager")).eval()
    plain = path.with_name("plain.onnx")
    ids = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 4, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
    with torch.inference_mode(), warnings.catch_warnings():
        # The exporter warns of its own deprecation and of Python branches that do not depend on the inputs' values.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            (ids, mask),
            str(plain),
            dynamo=False,
            opset_version=OPSET,
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_axes={"input_ids": {0: "batch", 1: "length"}, "attention_mask": {0: "batch", 1: "length"}, "logits": {0: "batch"}},
        )
    if graph.classifier.encoder.config.model_type in FUSED:
        _optimize(plain, path, graph.classifier.encoder.config)
        plain.unlink()
    else:
        plain.replace(path)


def _optimize(plain: Path, path: Path, config) -> None:  # type: ignore[no-untyped-def]
    from onnxruntime.transformers import optimizer

    logging.getLogger("onnxruntime.transformers").setLevel(logging.WARNING)
    optimized = optimizer.optimize_model(
        str(plain), model_type="bert", num_heads=config.num_attention_heads, hidden_size=config.hidden_size, opt_level=0
    )
    optimized.save_model_to_file(str(path))
