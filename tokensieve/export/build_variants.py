"""Build the variants of an exported graph, from exact to fast.

`choose_variant.py` chooses the one to serve.

- fp32: the graph as PyTorch exports it.
- fused: attention, norms and activations are one operator each.
- fp16: fused, in half precision, for a GPU.
- blocks: matrix products in int8, with one scale per 64 inputs, of each token and of each output.
- mixed: like int8, but products with fewer outputs than inputs are computed as in blocks. They are
  the second ones of the feed-forward layers, whose inputs have outliers.
- int8: matrix products in int8 with one scale per text and one per output, after they were made
  more even (`smoothquant.py`). The table of token embeddings is int8 too, with one scale per token.
  If the processor's sums of int8 products may overflow (`processor.py`), weights have 7 bits.
- uint8: int8 for such a processor, with unsigned weights of 8 bits. Its products cannot overflow.
  It is more exact than int8 and slower.

If ONNX Runtime cannot fuse a model family, it has no fused and no fp16.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.onnx_model import OnnxModel
from transformers import PreTrainedConfig

from tokensieve.export.onnx_graph import DOMAIN, FUSED, allow_own_operators, fuse, remove_unused_weights
from tokensieve.export.smoothquant import IN_FLOAT, smooth
from tokensieve.inference.session import IDS, cuda_problem
from tokensieve.processor import saturates_int8

SAMPLE = 64  # texts from which the scales of int8 are computed
BLOCK = 64  # MiniLM on one thread: 3.3 ms per text and 99.8% agreement; with 32, 3.6 ms and 99.9%


def unavailable(config: PreTrainedConfig, names: Sequence[str]) -> dict[str, str]:
    """Return the variants among `names` that are not built on this machine, with the reasons.

    It cannot build or run them, or another one of `names` is better in every way.
    """
    reasons: dict[str, str] = {}
    if config.model_type not in FUSED:
        reasons |= dict.fromkeys(("fused", "fp16"), f"ONNX Runtime does not fuse {config.model_type}")
    elif problem := cuda_problem():
        reasons["fp16"] = problem
    if "int8" in names and not saturates_int8():
        reasons["uint8"] = "this processor computes int8 as exactly, and faster"
    return {name: reasons[name] for name in names if name in reasons}


def build(
    plain: Path, config: PreTrainedConfig, name: str, sample: Sequence[npt.ArrayLike], path: Path
) -> None:
    """Write a variant of a graph.

    On the same machine, the same graph and sample give the same bytes.

    Args:
        plain: The file of the graph as PyTorch exports it.
        config: The configuration of the encoder.
        name: The name of the variant.
        sample: The input of the graph for each of some texts, from which int8 scales are computed.
        path: The file to write.
    """
    if name == "fp32":
        shutil.copyfile(plain, path)
    elif name == "fused":
        onnx.save(fuse(plain, config), path)
    elif name == "fp16":
        graph = OnnxModel(fuse(plain, config))
        graph.convert_float_to_float16(keep_io_types=True)
        graph.save_model_to_file(str(path))
    elif name == "blocks":
        onnx.save(quantize_blocks(_fastest_float(plain, config, attention=False)), path)
    else:
        model = quantize_embeddings(_fastest_float(plain, config, embeddings=False))
        model = quantize_blocks(model, narrowing=True) if name == "mixed" else model
        quantize(smooth(model, sample), path, unsigned=name == "uint8")


def int8_bits(name: str) -> int:
    """Return the bits of a variant's int8 weights on this machine, as the manifest has them.

    They are 7 if every processor computes the variant alike.
    """
    return 8 if name in ("mixed", "int8") and not saturates_int8() else 7


def quantize(model: ModelProto, path: Path, unsigned: bool = False) -> None:
    """Write `model` to `path` with int8 products, except those whose names begin with IN_FLOAT.

    With `unsigned`, their weights are uint8.
    """
    # Without this entry, the quantizer warns that shapes were not inferred. They are not needed
    # here.
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    quantize_dynamic(
        model,
        path,
        op_types_to_quantize=["MatMul", "Attention"],
        nodes_to_exclude=[node.name for node in model.graph.node if node.name.startswith(IN_FLOAT)],
        weight_type=QuantType.QUInt8 if unsigned else QuantType.QInt8,
        per_channel=True,
        reduce_range=not unsigned and saturates_int8(),
        # After fusion, some values have no type, and the quantizer would fail.
        extra_options={"DefaultTensorType": TensorProto.FLOAT},
    )


def quantize_embeddings(model: ModelProto) -> ModelProto:
    """Change the table of token embeddings to int8 with one scale per token. Return `model`.

    With one scale for the table, the logits of MiniLM differ almost four times as much.
    """
    tables = {item.name: item for item in model.graph.initializer}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.op_type == "Gather" and node.input[0] in tables and node.input[1] == IDS:
            nodes += _int8_lookup(model, node, tables[node.input[0]])
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    remove_unused_weights(model)
    return model


def _int8_lookup(model: ModelProto, node: NodeProto, table: TensorProto) -> list[NodeProto]:
    """Return the nodes that replace a lookup in `table`, and add their weights to `model`."""
    rows = numpy_helper.to_array(table)
    scale = np.maximum(np.abs(rows).max(1, keepdims=True), 1e-12) / 127
    name = node.output[0]
    whole, scales, found, floats, steps = (
        f"{name}_{part}" for part in ("int8", "scales", "rows", "floats", "steps")
    )
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.round(rows / scale).astype(np.int8), whole),
            numpy_helper.from_array(scale.astype(np.float32), scales),
        ]
    )
    return [
        helper.make_node("Gather", [whole, IDS], [found], name=found),
        helper.make_node("Gather", [scales, IDS], [steps], name=steps),
        helper.make_node("Cast", [found], [floats], name=floats, to=TensorProto.FLOAT),
        helper.make_node("Mul", [floats, steps], [name], name=node.name),
    ]


def quantize_blocks(model: ModelProto, block: int = BLOCK, narrowing: bool = False) -> ModelProto:
    """Change the matrix products of `model` to int8 with one scale per `block` inputs. Return it.

    Products stay as they are if their number of inputs is not a multiple of `block`. With
    `narrowing`, those with at least as many outputs as inputs stay too.
    """
    weights = {item.name: item for item in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights and len(weights[node.input[1]].dims) == 2:
            weight = numpy_helper.to_array(weights[node.input[1]])
            inputs, outputs = weight.shape
            if inputs % block == 0 and (inputs > outputs or not narrowing):
                node.CopyFrom(_block_product(model, node, weight, block))
    remove_unused_weights(model)
    return allow_own_operators(model)


def _block_product(
    model: ModelProto, node: NodeProto, weight: npt.NDArray[np.float32], block: int
) -> NodeProto:
    """Return ONNX Runtime's MatMulNBits for a MatMul, and add its weights to `model`.

    The weights are uint8 [outputs, blocks, block], where 128 is zero. The scales are float32
    [outputs * blocks].
    """
    inputs, outputs = weight.shape
    parts = weight.T.reshape(outputs, inputs // block, block)
    scale = np.maximum(np.abs(parts).max(2, keepdims=True), 1e-12) / 127
    names = [f"{node.output[0]}_blocks", f"{node.output[0]}_scales"]
    values = ((np.round(parts / scale) + 128).astype(np.uint8), scale.astype(np.float32).reshape(-1))
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for value, name in zip(values, names, strict=True)
    )
    facts = {"K": inputs, "N": outputs, "bits": 8, "block_size": block, "accuracy_level": 4}
    return helper.make_node(
        "MatMulNBits", [node.input[0], *names], node.output, node.name, domain=DOMAIN, **facts
    )


def _fastest_float(
    plain: Path, config: PreTrainedConfig, attention: bool = True, embeddings: bool = True
) -> ModelProto:
    """Return the fused graph, or the plain graph if ONNX Runtime cannot fuse the model family."""
    if config.model_type not in FUSED:
        return onnx.load(plain)
    return fuse(plain, config, attention, embeddings)
