from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tokensieve.errors import InputError
from tokensieve.inference import session as module
from tokensieve.inference.session import Engine, create_session, load_engine

IDS = np.array([[4, 5, 6], [7, 8, 9], [4, 4, 4]])


def test_the_logits_are_those_of_the_graph(served: Any) -> None:
    found = load_engine(served.folder / "model.onnx", "fp32", 1).run(IDS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, served.embedding[IDS].mean(1) @ served.weight + served.bias, atol=1e-5)


class Counting:
    """A session that notes the sizes of its batches."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def run(self, _: list[str], feeds: dict[str, Any]) -> list[Any]:
        self.sizes.append(len(feeds["input_ids"]))
        return [feeds["input_ids"].astype(np.float32)]


@pytest.mark.parametrize(("alone", "sizes"), [(False, [3]), (True, [1, 1, 1])])
def test_texts_that_would_share_a_step_run_alone(alone: bool, sizes: list[int]) -> None:
    counting = Counting()
    np.testing.assert_array_equal(Engine(counting, alone).run(IDS), IDS)  # type: ignore[arg-type]
    assert counting.sizes == sizes


def test_int8_answers_do_not_depend_on_the_rest_of_the_batch(served: Any, tmp_path: Path) -> None:
    graph = tmp_path / "int8.onnx"
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(served.folder / "model.onnx")
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    quantize_dynamic(model, graph, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8)
    together, apart = load_engine(graph, "fused", 1), load_engine(graph, "int8", 1)
    single = np.concatenate([together.run(ids[None]) for ids in IDS])
    np.testing.assert_array_equal(apart.run(IDS), single)
    assert np.abs(together.run(IDS) - single).max() > 1e-4


def test_a_gpu_graph_without_a_gpu_is_refused(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cuda_problem", lambda: "there is none")
    with pytest.raises(InputError, match=r"is for a GPU, but there is none; or export another variant"):
        load_engine(served.folder / "model.onnx", "fp16", 1)


def test_what_cannot_be_read_or_has_other_inputs_is_refused(served: Any, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"{}")
    with pytest.raises(InputError, match=r"model\.onnx cannot be read by onnxruntime \d"):
        create_session(tmp_path / "model.onnx", 1)
    with pytest.raises(
        InputError,
        match=r"maps input_ids tensor\(int64\) to logits; it must map states tensor\(float\) to logits",
    ):
        create_session(served.folder / "model.onnx", 1, {"states": "tensor(float)"})
    with pytest.raises(
        InputError, match=r"it must map input_ids tensor\(int64\) to states: export the model again"
    ):
        create_session(served.folder / "model.onnx", 1, output="states")
