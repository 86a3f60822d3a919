"""Make activations and weights more even before int8: SmoothQuant, and outliers in float.

In the matrix products of a transformer, a few input channels are many times larger than the others,
but int8 has one scale for all channels.

SmoothQuant (Xiao et al. 2022, arXiv 2211.10438): dividing channel j by s_j and multiplying row j of
the weight by s_j changes nothing in float, and makes both more even (equation 4):

    s_j = max|x_j|^a / max|w_j|^(1-a)

One exponent `a` for all products makes some of them worse. Here each product has the exponent with
the least error on sample texts, or no scaling.

Outliers in float (LLM.int8(), Dettmers et al. 2022, arXiv 2208.07339): the largest channels are
left out of the int8 product and multiplied in float. They are so few that it takes little time. A
product is divided this way only if its error becomes clearly smaller: in MiniLM most of those of
the feed-forward layers. Attention as one operator cannot be divided.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tokensieve.export.onnx_graph import remove_unused_weights

Floats = npt.NDArray[np.float32]

EXPONENTS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
OUTLIERS = 4  # channels in float; with 16, the error of MiniLM's products is 5 to 10% smaller still
SMALLER = 0.64  # a product is divided if the squared error becomes smaller than this share of it
IN_FLOAT = "outliers"  # the beginning of the names of the products in float


@dataclass(frozen=True)
class Scaling:
    """How the inputs of a product are prepared for int8.

    Attributes:
        divisor: What the inputs are divided by, float32 [inputs].
        outliers: The inputs that are multiplied in float, int64 [at most OUTLIERS].
        error: The sum of the squared errors of the product's outputs on the sample.
    """

    divisor: Floats
    outliers: npt.NDArray[np.int64]
    error: float

    @property
    def factor(self) -> Floats:
        """The factors of the inputs of the int8 product, float32 [inputs]; 0 for outliers."""
        factor = np.float32(1) / self.divisor
        factor[self.outliers] = 0
        return factor

    @property
    def changes_nothing(self) -> bool:
        return bool((self.factor == 1).all())


def smooth(model: ModelProto, sample: Sequence[npt.ArrayLike]) -> ModelProto:
    """Return a copy of `model` whose matrix products lose less in int8.

    The names of the products to be left in float begin with `IN_FLOAT`. `sample` has the input of
    the graph for each of some texts.
    """
    smoothed = copy.deepcopy(model)
    weights = {item.name: item for item in smoothed.graph.initializer}
    products = [node for node in smoothed.graph.node if _is_product(node, weights)]
    states = _states(model, sorted({node.input[0] for node in products}), sample)
    replaced = {}
    for place, node in enumerate(products):
        weight = numpy_helper.to_array(weights[node.input[1]])
        found = best_scaling(states[node.input[0]], weight, divisible=node.op_type == "MatMul")
        if not found.changes_nothing:
            replaced[node.output[0]] = _scaled(smoothed, node, weight, found, place)
    _replace(smoothed, replaced)
    return smoothed


def best_scaling(states: Sequence[Floats], weight: Floats, divisible: bool) -> Scaling:
    """Return the scaling with the least error of the product in int8.

    Args:
        states: The input of the product for each text, float32 [tokens, inputs].
        weight: float32 [inputs, outputs].
        divisible: Whether outliers can be multiplied in float.
    """
    # All texts are in one product: on a busy machine, thousands of small products on all cores take
    # minutes.
    rows, lengths = np.concatenate(states), [len(x) for x in states]
    whole = _best_scaling(rows, lengths, weight, np.array([], dtype=np.int64))
    if not divisible or len(weight) <= OUTLIERS:
        return whole
    largest = np.sort(np.argsort(-np.abs(rows).max(0), kind="stable")[:OUTLIERS])
    divided = _best_scaling(rows, lengths, weight, largest)
    return divided if divided.error < SMALLER * whole.error else whole


def _best_scaling(
    rows: Floats, lengths: Sequence[int], weight: Floats, outliers: npt.NDArray[np.int64]
) -> Scaling:
    """Return the scaling with the least error if the inputs `outliers` are multiplied in float."""
    kept = np.ones(len(weight), dtype=np.float32)
    kept[outliers] = 0
    rows, weight = rows * kept, weight * kept[:, None]
    exact = rows @ weight
    largest = np.maximum(np.abs(rows).max(0), 1e-5)
    own = np.maximum(np.abs(weight).max(1), 1e-5)
    divisors = [np.ones_like(own), *(largest**exponent / own ** (1 - exponent) for exponent in EXPONENTS)]
    errors = [
        float(
            np.square(
                _rounded(rows / divisor, lengths) @ _rounded_weight(weight * divisor[:, None]) - exact
            ).sum()
        )
        for divisor in divisors
    ]
    best = int(np.argmin(errors))
    return Scaling(divisors[best], outliers, errors[best])


def _scaled(
    model: ModelProto, node: NodeProto, weight: Floats, scaling: Scaling, place: int
) -> list[NodeProto]:
    """Return the nodes that replace a product, and add their weights to `model`."""
    source, output, outliers = node.input[0], node.output[0], scaling.outliers
    factor, scaled, inputs = (f"smooth_{place}_{part}" for part in ("factor", "weight", "input"))
    rows = weight * scaling.divisor[:, None]
    rows[outliers] = 0
    arrays: dict[str, npt.NDArray[Any]] = {factor: scaling.factor, scaled: rows}
    product = copy.deepcopy(node)
    product.input[0], product.input[1] = inputs, scaled
    nodes = [helper.make_node("Mul", [source, factor], [inputs], name=inputs), product]
    if len(outliers):
        index, own, taken, exact, rest = (
            f"{IN_FLOAT}_{place}_{part}" for part in ("index", "weight", "input", "product", "rest")
        )
        arrays |= {index: outliers, own: weight[outliers]}
        product.output[0] = rest
        nodes += [
            helper.make_node("Gather", [source, index], [taken], name=taken, axis=-1),
            helper.make_node("MatMul", [taken, own], [exact], name=exact),
            helper.make_node("Add", [rest, exact], [output], name=f"{IN_FLOAT}_{place}_sum"),
        ]
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in arrays.items())
    return nodes


def _rounded_weight(weight: Floats) -> Floats:
    """Return `weight` rounded to int8, with one step size per output, as float32."""
    step = np.maximum(np.abs(weight).max(0), 1e-12) / 127
    return np.round(weight / step) * step


def _rounded(rows: Floats, lengths: Sequence[int]) -> Floats:
    """Return `rows` rounded to uint8, with one step size and one zero point per text, as float32.

    `lengths` is the number of rows of each text.
    """
    starts = np.cumsum([0, *lengths[:-1]])
    low = np.minimum(np.minimum.reduceat(rows.min(1), starts), 0)
    high = np.maximum(np.maximum.reduceat(rows.max(1), starts), 0)
    steps = np.maximum((high - low) / 255, 1e-12)
    step, zero = (np.repeat(found, lengths)[:, None] for found in (steps, np.round(-low / steps)))
    return (np.clip(np.round(rows / step) + zero, 0, 255) - zero) * step


def _states(
    model: ModelProto, names: Sequence[str], sample: Sequence[npt.ArrayLike]
) -> dict[str, list[Floats]]:
    """Return the values `names` of the graph for each text of `sample`, float32 [tokens, width]."""
    shown = copy.deepcopy(model)
    shown.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    runs = [session.run(list(names), {session.get_inputs()[0].name: np.array([text])}) for text in sample]
    return {
        name: [run[place].reshape(-1, run[place].shape[-1]) for run in runs]
        for place, name in enumerate(names)
    }


def _is_product(node: NodeProto, weights: dict[str, TensorProto]) -> bool:
    return (
        node.op_type in ("MatMul", "Attention")
        and node.input[1] in weights
        and len(weights[node.input[1]].dims) == 2
    )


def _replace(model: ModelProto, replaced: Mapping[str, Sequence[NodeProto]]) -> None:
    """Put nodes in the place of others, and remove the weights no longer used.

    `replaced` has the nodes by the first output of the one that they replace. Outputs are unique,
    while nodes may have no names.
    """
    nodes = [part for node in model.graph.node for part in replaced.get(node.output[0], [node])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    remove_unused_weights(model)
