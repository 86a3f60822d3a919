from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from tokensieve.export.smoothquant import IN_FLOAT, best_scaling, smooth

DRAW = np.random.default_rng(3)
WEIGHT = DRAW.normal(size=(8, 6)).astype(np.float32)
# One channel is a hundred times larger than the others, as in a trained encoder.
SIZES = np.float32([1, 1, 100, 1, 1, 1, 1, 1])


def graph() -> onnx.ModelProto:
    """input_ids -> logits: rows of a table through the product with WEIGHT."""
    table = (DRAW.normal(size=(20, 8)) * SIZES).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weight"], ["logits"], name="product"),
    ]
    values = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(WEIGHT, "weight")]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "length", 6])
    return helper.make_model(
        helper.make_graph(nodes, "tiny", [ids], [logits], values),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def run(model: onnx.ModelProto, ids: list[int]) -> np.ndarray:  # type: ignore[type-arg]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input_ids": np.array([ids])})[0]


def test_in_float_the_smoothed_graph_is_the_same_and_the_given_one_stays() -> None:
    model = graph()
    before = model.SerializeToString()
    smoothed = smooth(model, [[1, 2, 3], [4, 5]])
    assert model.SerializeToString() == before
    assert [node.op_type for node in smoothed.graph.node] == [
        "Gather", "Mul", "MatMul", "Gather", "MatMul", "Add"
    ]  # fmt: skip
    assert [node.name for node in smoothed.graph.node if node.name.startswith(IN_FLOAT)] == [
        "outliers_0_input", "outliers_0_product", "outliers_0_sum"
    ]  # fmt: skip
    assert "weight" not in {item.name for item in smoothed.graph.initializer}
    np.testing.assert_allclose(run(smoothed, [6, 7, 8]), run(model, [6, 7, 8]), rtol=1e-4, atol=1e-4)


def test_products_without_names_are_each_replaced_by_their_own() -> None:
    model = graph()
    back = (DRAW.normal(size=(6, 8)) * SIZES).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(back, "back"))
    model.graph.node[1].name = ""
    model.graph.node[1].output[0] = "hidden"
    model.graph.node.extend(
        [
            helper.make_node("MatMul", ["hidden", "back"], ["wide"]),
            helper.make_node("MatMul", ["wide", "weight"], ["logits"]),
        ]
    )
    smoothed = smooth(model, [[1, 2, 3], [4, 5]])
    assert len(smoothed.graph.node) > len(model.graph.node)
    expected = run(model, [6, 7, 8])
    np.testing.assert_allclose(run(smoothed, [6, 7, 8]), expected, atol=1e-5 * np.abs(expected).max())


def rounded(x: np.ndarray, steps: int) -> np.ndarray:  # type: ignore[type-arg]
    step = (max(x.max(), 0) - min(x.min(), 0)) / steps
    return np.round(x / step) * step


def drawn() -> list[np.ndarray]:  # type: ignore[type-arg]
    return [(DRAW.normal(size=(length, 8)) * SIZES).astype(np.float32) for length in (3, 5, 4)]


def test_a_large_channel_is_divided_and_less_is_lost() -> None:
    states = drawn()
    found = best_scaling(states, WEIGHT, divisible=False)
    assert found.divisor.argmax() == 2
    assert not len(found.outliers)
    exact = np.concatenate(states) @ WEIGHT
    plain, smoothed = (
        np.concatenate([rounded(x / s, 255) for x in states]) @ (WEIGHT * s[:, None])
        for s in (np.ones(8), found.divisor)
    )
    assert np.abs(smoothed - exact).mean() < 0.5 * np.abs(plain - exact).mean()


def test_a_large_channel_in_float_loses_less_still() -> None:
    states = drawn()
    divided, whole = (best_scaling(states, WEIGHT, divisible) for divisible in (True, False))
    assert 2 in divided.outliers
    assert (divided.factor[divided.outliers] == 0).all()
    assert divided.error < 0.64 * whole.error


def test_even_channels_are_left_as_they_are() -> None:
    even = np.ones((4, 8), dtype=np.float32)
    found = best_scaling([even, even], np.ones((8, 6), dtype=np.float32), divisible=True)
    assert found.changes_nothing
    assert not len(found.outliers)
