from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from tokensieve.export import build_variants
from tokensieve.export.build_variants import (
    build,
    int8_bits,
    quantize_blocks,
    quantize_embeddings,
    unavailable,
)
from tokensieve.export.onnx_graph import export_onnx
from tokensieve.inference.session import load_engine
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import load_tokenizer

SAMPLE = [[2, 9, 10, 3], [2, 20, 21, 22, 23, 3], [2, 30, 3]]
IDS = np.array([[2, 11, 40, 41, 12, 3], [2, 50, 51, 30, 31, 3]])


@pytest.fixture
def built(
    tiny_classifier: Callable[..., Classifier], tiny_family: Callable[[str], Path], tmp_path: Path
) -> Callable[..., Path]:
    """Builds a variant of an untrained classifier; gives the graph's path."""

    def make(name: str, family: str = "bert") -> Path:
        tiny_classifier(family).save(tmp_path / "model", load_tokenizer(tiny_family(family)), {})
        config = export_onnx(tmp_path / "model", tmp_path / "plain.onnx")
        build(tmp_path / "plain.onnx", config, name, SAMPLE, tmp_path / f"{name}.onnx")
        return tmp_path / f"{name}.onnx"

    return make


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


# Inputs of 64 fill a block, those of 32 do not: in blocks are the second products of each
# feed-forward alone.
@pytest.mark.parametrize(
    ("name", "own", "most"),
    [
        ("fp32", {}, 1e-4),
        ("fused", {"Attention": 4}, 1e-4),
        ("blocks", {"MatMulNBits": 4}, 0.05),
        ("mixed", {"MatMulNBits": 4, "QAttention": 4, "MatMulInteger": 9}, 0.3),
        ("uint8", {"QAttention": 4, "MatMulInteger": 13}, 0.3),
        ("int8", {"QAttention": 4, "MatMulInteger": 13}, 0.3),
    ],
)
def test_a_variant_has_its_operators_and_stays_near_torch(
    built: Callable[..., Path], name: str, own: dict[str, int], most: float
) -> None:
    path = built(name)
    found = operators(path)
    assert {operator: found[operator] for operator in own} == own
    classifier = Classifier.load(path.with_name("model"))
    with torch.inference_mode():
        expected = classifier(torch.tensor(IDS), torch.ones(IDS.shape, dtype=torch.int64)).numpy()
    difference = np.abs(load_engine(path, name, 1).run(IDS) - expected).max()
    assert (difference > 1e-3) == (name not in ("fp32", "fused"))
    assert difference < most * expected.std()


@pytest.mark.parametrize("family", ["modernbert", "qwen2"])
@pytest.mark.parametrize("name", ["fp32", "blocks", "mixed", "uint8", "int8"])
def test_families_that_are_not_fused_have_the_others(
    built: Callable[..., Path], family: str, name: str
) -> None:
    path = built(name, family)
    plain = load_engine(path.with_name("plain.onnx"), "fp32", 1).run(IDS)
    assert np.abs(load_engine(path, name, 1).run(IDS) - plain).max() < 0.5 * plain.std()


def test_the_same_graph_gives_the_same_bytes(built: Callable[..., Path]) -> None:
    first = built("mixed").read_bytes()
    assert built("mixed").read_bytes() == first


def test_half_precision_keeps_its_inputs_and_outputs(built: Callable[..., Path]) -> None:
    path = built("fp16")
    # Without a GPU it computes as well, only slower.
    half, plain = (load_engine(at, "fp32", 1).run(IDS) for at in (path, path.with_name("plain.onnx")))
    assert path.stat().st_size < 0.7 * path.with_name("plain.onnx").stat().st_size
    assert 0 < np.abs(half - plain).max() < 0.02


def test_unavailable_variants_have_a_reason(
    tiny_family: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoConfig

    bert, qwen2 = (AutoConfig.from_pretrained(tiny_family(family)) for family in ("bert", "qwen2"))
    monkeypatch.setattr(build_variants, "cuda_problem", lambda: "there is none")
    monkeypatch.setattr(build_variants, "saturates_int8", lambda: True)
    assert unavailable(bert, ["fp32", "fused", "fp16"]) == {"fp16": "there is none"}
    assert unavailable(bert, ["fp32", "int8"]) == {}
    monkeypatch.setattr(build_variants, "cuda_problem", lambda: "")
    assert unavailable(bert, ["fused", "fp16"]) == {}
    assert list(unavailable(qwen2, ["fp32", "fused", "fp16", "int8"])) == ["fused", "fp16"]


@pytest.mark.parametrize("saturates", [True, False])
def test_a_processor_whose_sums_overflow_has_weights_that_cannot(
    built: Callable[..., Path],
    tiny_family: Callable[[str], Path],
    saturates: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers import AutoConfig

    monkeypatch.setattr(build_variants, "saturates_int8", lambda: saturates)
    bert = AutoConfig.from_pretrained(tiny_family("bert"))
    assert ("uint8" in unavailable(bert, ["uint8", "int8"])) == (not saturates)
    assert unavailable(bert, ["uint8"]) == {}  # a model that has it is reproduced anywhere
    most = {name: largest_weight(built(name)) for name in ("int8", "uint8", "mixed")}
    assert most == {"int8": 64 if saturates else 127, "uint8": 255, "mixed": 64 if saturates else 127}
    assert [int8_bits(name) for name in ("int8", "mixed", "uint8", "fp32")] == (
        [7, 7, 7, 7] if saturates else [8, 8, 7, 7]
    )


def largest_weight(path: Path) -> int:
    """The largest value of an int8 weight of a matrix product."""
    model = onnx.load(path)
    weights = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    used = [node.input[1] for node in model.graph.node if node.op_type in ("MatMulInteger", "QAttention")]
    return max(int(np.abs(weights[name].astype(int)).max()) for name in used)


def test_each_token_has_its_own_scale(built: Callable[..., Path]) -> None:
    """One token with large values took the small values of all others."""
    plain, name = onnx.load(built("fused")), "classifier.encoder.embeddings.word_embeddings.weight"
    fused = built_embeddings(plain, name)
    path = built("int8")
    model = onnx.load(path)
    weights = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    (table,) = [value for value in weights.values() if value.dtype == np.int8 and value.shape == fused.shape]
    (scale,) = [value for value in weights.values() if value.shape == (len(fused), 1)]
    assert (np.abs(table * scale - fused) <= scale / 2 + 1e-7).all()


def built_embeddings(model: onnx.ModelProto, name: str) -> np.ndarray:  # type: ignore[type-arg]
    return onnx.numpy_helper.to_array(next(item for item in model.graph.initializer if item.name == name))


def test_a_table_with_a_second_use_stays() -> None:
    table = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["first"]),
        helper.make_node("Gather", ["table", "input_ids"], ["second"]),
        helper.make_node("Add", ["first", "second"], ["sum"]),
        helper.make_node("Transpose", ["table"], ["turned"]),
        helper.make_node("MatMul", ["sum", "turned"], ["logits"]),
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "length", 20])
    model = helper.make_model(
        helper.make_graph(nodes, "tied", [ids], [logits], [numpy_helper.from_array(table, "table")]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    session = onnxruntime.InferenceSession(
        quantize_embeddings(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"input_ids": IDS[:, :2] % 20})
    np.testing.assert_allclose(found, 2 * table[IDS[:, :2] % 20] @ table.T, atol=0.1)


def test_blocks_keep_a_row_of_zeros(built: Callable[..., Path]) -> None:
    model = onnx.load(built("fp32"))
    products = [node.input[1] for node in model.graph.node if node.op_type == "MatMul"]
    weights = {item.name: item for item in model.graph.initializer}
    zero = next(weights[name] for name in products if name in weights and weights[name].dims[0] == 64)
    zero.CopyFrom(onnx.numpy_helper.from_array(np.zeros(tuple(zero.dims), dtype=np.float32), zero.name))
    path = Path(built("fp32").with_name("zero.onnx"))
    onnx.save(quantize_blocks(model), path)
    assert np.isfinite(load_engine(path, "blocks", 1).run(IDS)).all()
