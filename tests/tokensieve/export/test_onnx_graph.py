from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tokensieve.export.onnx_graph import export_onnx, fuse
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import load_tokenizer

# Texts and tokens: one text and more, lengths on both sides of the example's.
SHAPES = ((1, 2), (1, 5), (1, 60), (3, 3), (2, 7), (9, 40))


@pytest.fixture
def exported(
    tiny_classifier: Callable[..., Classifier], tiny_family: Callable[[str], Path], tmp_path: Path
) -> Callable[..., tuple[Classifier, Path]]:
    """Saves and exports an untrained classifier, fused if so asked; gives it as loaded, and the
    graph's path.
    """

    def make(family: str = "bert", pooling: str = "mean", is_fused: bool = False) -> tuple[Classifier, Path]:
        tiny_classifier(family, pooling).save(tmp_path / "model", load_tokenizer(tiny_family(family)), {})
        config = export_onnx(tmp_path / "model", tmp_path / "model.onnx")
        if is_fused:
            onnx.save(fuse(tmp_path / "model.onnx", config), tmp_path / "model.onnx")
        return Classifier.load(tmp_path / "model"), tmp_path / "model.onnx"

    return make


def differences(classifier: Classifier, graph: Path) -> list[float]:
    """The largest difference between the logits of graph and classifier, for each of SHAPES."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    draw, found = torch.Generator().manual_seed(0), []
    for shape in SHAPES:
        ids = torch.randint(5, classifier.encoder.config.vocab_size, shape, generator=draw)
        (logits,) = session.run(["logits"], {"input_ids": ids.numpy()})
        with torch.inference_mode():
            expected = classifier(ids, torch.ones_like(ids)).numpy()
        assert (logits.shape, logits.dtype) == (expected.shape, np.float32)
        assert expected.std() > 0.05
        found.append(float(np.abs(logits - expected).max()))
    return found


def operators(graph: Path) -> set[str]:
    return {node.op_type for node in onnx.load(graph).graph.node}


@pytest.mark.parametrize("is_fused", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_the_graph_answers_as_torch_does(
    exported: Callable[..., tuple[Classifier, Path]], pooling: str, is_fused: bool
) -> None:
    assert max(differences(*exported("bert", pooling, is_fused))) < 1e-4


@pytest.mark.parametrize("family", ["roberta", "distilbert", "mpnet"])
def test_families_alike_are_fused(exported: Callable[..., tuple[Classifier, Path]], family: str) -> None:
    assert max(differences(*exported(family, is_fused=True))) < 1e-4


@pytest.mark.parametrize("family", ["modernbert", "qwen2"])
def test_other_families_are_exported(exported: Callable[..., tuple[Classifier, Path]], family: str) -> None:
    assert max(differences(*exported(family, "last" if family == "qwen2" else "mean"))) < 1e-4


def test_attention_is_fused(exported: Callable[..., tuple[Classifier, Path]]) -> None:
    _, graph = exported("bert", is_fused=True)
    assert {"Attention", "SkipLayerNormalization"} <= operators(graph)
    assert "Softmax" not in operators(graph)


def test_the_graph_is_one_file_with_named_inputs(exported: Callable[..., tuple[Classifier, Path]]) -> None:
    _, graph = exported("bert")
    assert sorted(path.name for path in graph.parent.iterdir()) == ["model", "model.onnx"]
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert [(item.name, item.type, item.shape) for item in session.get_inputs()] == [
        ("input_ids", "tensor(int64)", ["batch", "length"])
    ]
    assert [(item.name, item.shape) for item in session.get_outputs()] == [("logits", ["batch", 5])]
