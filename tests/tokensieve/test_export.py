from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from tokensieve.base import load_tokenizer
from tokensieve.classifier import Classifier
from tokensieve.export import export_onnx

# Each with a batch that is one text, a batch that is larger, lengths on both sides of the example's, padded rows or none.
SHAPES = ([2], [5], [64], [3, 3, 3], [7, 2, 12, 1, 33], [40] * 9)


@pytest.fixture
def exported(
    tiny_classifier: Callable[..., Classifier], tiny_family: Callable[[str], Path], tmp_path: Path
) -> Callable[..., tuple[Classifier, Path]]:
    """Saves and exports an untrained classifier; gives it as loaded, and the graph's path."""

    def make(family: str = "bert", pooling: str = "mean") -> tuple[Classifier, Path]:
        tiny_classifier(family, pooling).save(tmp_path / "model", load_tokenizer(tiny_family(family)), {})
        export_onnx(tmp_path / "model", tmp_path / "model.onnx")
        return Classifier.load(tmp_path / "model"), tmp_path / "model.onnx"

    return make


def batch_of(lengths: list[int], vocabulary: int) -> tuple[Tensor, Tensor]:
    """Random ids above the special ones, padded on the right with 0, and their mask."""
    draw = torch.Generator().manual_seed(sum(lengths))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)).long()
    return torch.randint(5, vocabulary, mask.shape, generator=draw) * mask, mask


def differences(classifier: Classifier, graph: Path) -> list[float]:
    """The largest difference between the logits of graph and classifier, for each of SHAPES."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    found = []
    for lengths in SHAPES:
        ids, mask = batch_of(lengths, classifier.encoder.config.vocab_size)
        (logits,) = session.run(["logits"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        with torch.inference_mode():
            expected = classifier(ids, mask).numpy()
        assert (logits.shape, logits.dtype) == (expected.shape, np.float32)
        assert expected.std() > 0.05
        found.append(float(np.abs(logits - expected).max()))
    return found


def operators(graph: Path) -> set[str]:
    return {node.op_type for node in onnx.load(graph).graph.node}


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_the_graph_answers_as_torch_does(exported: Callable[..., tuple[Classifier, Path]], pooling: str) -> None:
    assert max(differences(*exported("bert", pooling))) < 1e-4


@pytest.mark.parametrize("family", ["roberta", "distilbert", "mpnet", "modernbert", "qwen2"])
def test_every_family_is_exported(exported: Callable[..., tuple[Classifier, Path]], family: str) -> None:
    assert max(differences(*exported(family, "last" if family == "qwen2" else "mean"))) < 1e-4


def test_attention_is_fused(exported: Callable[..., tuple[Classifier, Path]]) -> None:
    _, graph = exported("bert")
    assert {"Attention", "SkipLayerNormalization"} <= operators(graph)
    assert "Softmax" not in operators(graph)


def test_the_graph_is_one_file_with_named_inputs(exported: Callable[..., tuple[Classifier, Path]]) -> None:
    _, graph = exported("bert")
    assert sorted(path.name for path in graph.parent.iterdir()) == ["model", "model.onnx"]
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert [(item.name, item.type, item.shape) for item in session.get_inputs()] == [
        ("input_ids", "tensor(int64)", ["batch", "length"]),
        ("attention_mask", "tensor(int64)", ["batch", "length"]),
    ]
    assert [(item.name, item.shape) for item in session.get_outputs()] == [("logits", ["batch", 5])]
