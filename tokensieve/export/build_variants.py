"""Builds of an exported graph, from exact to fast. Which of them is served is decided in `choose_variant.py`.

    fp32    as torch has it
    fused   attention, norms and activations each one operator
    fp16    fused, in half precision; for a GPU
    blocks  products in int8 with a scale for each 64 inputs of a token and of an output
    int8    products in int8 with a scale for each text and output, evened out before (`smoothquant.py`), and int8 embeddings
    mixed   as int8, but the products that narrow (the second of each feed-forward) as in blocks: their inputs have the outliers

Families whose graph ONNX Runtime does not fuse have all but fused and fp16.
"""

from __future__ import annotations

import platform
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

from tokensieve.export.onnx_graph import DOMAIN, FUSED, fused, with_own_operators
from tokensieve.export.smoothquant import smooth
from tokensieve.inference.session import cuda_problem

SAMPLE = 64  # texts that int8's scales are set on
CPUINFO = Path("/proc/cpuinfo")
BLOCK = 64  # MiniLM on one thread: 3.3 ms a text and 99.8% agreement; 32 take 3.6 ms for 99.9%


def missing(config: PreTrainedConfig, names: Sequence[str]) -> dict[str, str]:
    """Those of `names` that cannot be built or run here, with the reason."""
    reasons: dict[str, str] = {}
    if config.model_type not in FUSED:
        reasons |= dict.fromkeys(("fused", "fp16"), f"ONNX Runtime does not fuse {config.model_type}")
    elif fault := cuda_problem():
        reasons["fp16"] = fault
    return {name: reasons[name] for name in names if name in reasons}


def build(
    plain: Path, config: PreTrainedConfig, name: str, sample: Sequence[npt.ArrayLike], path: Path
) -> None:
    """Write variant `name` of the graph at `plain` to `path`; `sample` holds what it reads of some texts.

    The same graph and sample give the same bytes on the same machine.
    """
    if name == "fp32":
        shutil.copyfile(plain, path)
    elif name == "fused":
        onnx.save(fused(plain, config), path)
    elif name == "fp16":
        graph = OnnxModel(fused(plain, config))
        graph.convert_float_to_float16(keep_io_types=True)
        graph.save_model_to_file(str(path))
    elif name == "blocks":
        onnx.save(blocked(_fastest_float(plain, config, attention=False)), path)
    else:
        model = _fastest_float(plain, config)
        quantize(smooth(blocked(model, narrowing=True) if name == "mixed" else model, sample), path)


def quantize(model: ModelProto, path: Path) -> None:
    """Write `model` to `path` with int8 products and embeddings."""
    # Otherwise the quantizer warns that shapes were not inferred before, which it does not need here.
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    quantize_dynamic(
        model,
        path,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=saturates(),
        # Fusion leaves values without a type, which the quantizer would stop at.
        extra_options={"DefaultTensorType": TensorProto.FLOAT},
    )


def blocked(model: ModelProto, block: int = BLOCK, narrowing: bool = False) -> ModelProto:
    """`model`, changed, with its products in int8, a scale for each `block` inputs, if these are a multiple of it.

    With `narrowing`, only those with more inputs than outputs.
    """
    weights = {item.name: item for item in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights and len(weights[node.input[1]].dims) == 2:
            weight = numpy_helper.to_array(weights[node.input[1]])
            inputs, outputs = weight.shape
            if inputs % block == 0 and (inputs > outputs or not narrowing):
                node.CopyFrom(_block_product(model, node, weight, block))
    used = {name for node in model.graph.node for name in node.input}
    kept = [item for item in model.graph.initializer if item.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return with_own_operators(model)


def _block_product(
    model: ModelProto, node: NodeProto, weight: npt.NDArray[np.float32], block: int
) -> NodeProto:
    """ONNX Runtime's MatMulNBits: weights [outputs, blocks, block] as uint8 around 128, float scales [outputs * blocks]."""
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


def saturates(cpuinfo: Path = CPUINFO) -> bool:
    """Whether this processor adds pairs of int8 products in 16 bits, as x86 did before VNNI: weights then need 7 bits."""
    return platform.machine().lower() in ("x86_64", "amd64") and "vnni" not in _cpuinfo(cpuinfo)


def processor(cpuinfo: Path = CPUINFO) -> str:
    """The name of this machine's processor."""
    names = [
        line.partition(":")[2].strip()
        for line in _cpuinfo(cpuinfo).splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor() or platform.machine()


def _cpuinfo(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _fastest_float(plain: Path, config: PreTrainedConfig, attention: bool = True) -> ModelProto:
    """The fused graph, or the plain one where the family is not fused."""
    return fused(plain, config, attention) if config.model_type in FUSED else onnx.load(plain)
