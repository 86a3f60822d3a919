from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tokensieve.errors import InputError
from tokensieve.files import sha256
from tokensieve.inference.external_data import external_files
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.predictor import Predictor
from tokensieve.inference.shared_predictor import NAME, SharedPredictor


def tensor(name: str, location: str) -> TensorProto:
    """A tensor whose values are in another file."""
    made = numpy_helper.from_array(np.zeros(2, np.float32), name)
    made.ClearField("raw_data")
    made.data_location = TensorProto.EXTERNAL
    made.external_data.add(key="offset", value="0")
    made.external_data.add(key="location", value=location)
    return made


def graph(name: str, nodes: list[Any], tensors: list[TensorProto]) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, [], [], tensors)


def test_files_are_found_wherever_a_graph_keeps_a_tensor(tmp_path: Path) -> None:
    inner = graph(
        "inner",
        [helper.make_node("Constant", [], ["c"], value=tensor("c", "constant.bin"))],
        [tensor("b", "branch.bin")],
    )
    nodes = [helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=graph("e", [], []))]
    sparse = helper.make_sparse_tensor(
        tensor("s", "sparse.bin"), numpy_helper.from_array(np.zeros(2, np.int64)), [2]
    )
    outer = graph(
        "outer", nodes, [tensor("a", "a/weights.bin"), tensor("d", "../secret"), tensor("e", "a/weights.bin")]
    )
    outer.sparse_initializer.append(sparse)
    function = helper.make_function(
        "d", "f", [], [], [helper.make_node("Constant", [], ["c"], value=tensor("f", "function.bin"))], []
    )
    model = helper.make_model(outer, functions=[function])
    model.metadata_props.add(key="location", value="no tensor")
    onnx.save_model(model, tmp_path / "model.onnx", save_as_external_data=False)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    found = set(external_files(tmp_path / "model.onnx"))
    assert found == {"constant.bin", "branch.bin", "a/weights.bin", "../secret", "function.bin", "sparse.bin"}


@pytest.mark.parametrize(
    "content",
    [b"", b"weights" * 100, b"\x3a\xff\xff\xff\xff\x0f", b"\x3a" * 10_000, bytes(1000), b"\xff" * 1000],
)
def test_what_is_no_graph_has_no_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    assert external_files(tmp_path / "model.onnx") == []


def with_external_data(folder: Path, location: str = "weights.bin") -> None:
    model = onnx.load(folder / "model.onnx")
    onnx.save_model(
        model, folder / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    if location != "weights.bin":
        for tensor in model.graph.initializer:
            tensor.external_data[0].value = location
        (folder / "model.onnx").write_bytes(model.SerializeToString())


def test_external_weights_need_a_hash(served: Any, tmp_path: Path) -> None:
    folder = served.write(tmp_path / "onnx")
    before = Predictor.load(folder).logits(["my card"])
    with_external_data(folder)
    served.manifest.save(folder)
    with pytest.raises(
        InputError, match=r"model\.onnx reads weights from 'weights\.bin', which manifest\.json does not list"
    ):
        Manifest.load(folder)
    path = folder / "manifest.json"
    tree = json.loads(path.read_text(encoding="utf-8"))
    tree["files"]["weights.bin"] = sha256(folder / "weights.bin")
    path.write_text(json.dumps(tree), encoding="utf-8")
    np.testing.assert_array_equal(Predictor.load(folder).logits(["my card"]), before)
    (folder / "weights.bin").write_bytes(bytes((folder / "weights.bin").stat().st_size))
    with pytest.raises(InputError, match=r"weights\.bin is not the file that manifest\.json lists"):
        Predictor.load(folder)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "./weights.bin"])
def test_weights_outside_the_folder_are_refused(location: str, served: Any, tmp_path: Path) -> None:
    folder = served.write(tmp_path / "onnx")
    with_external_data(folder, location)
    served.manifest.save(folder)
    with pytest.raises(InputError, match=r"reads weights from '.*', which manifest\.json does not list"):
        Predictor.load(folder)


@pytest.mark.parametrize("task", ["../outside", "topics"])
def test_a_task_s_graph_needs_a_hash(task: str, served: Any, tmp_path: Path) -> None:
    folder = served.write_shared(tmp_path / "shared")
    shutil.copyfile(folder / "topics.onnx", tmp_path / "outside.onnx")
    path = folder / NAME
    tree = json.loads(path.read_text(encoding="utf-8"))
    tree["tasks"][task] = tree["tasks"]["topics"]
    tree["files"].pop("topics.onnx")
    path.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(InputError, match=r"shared\.json has no hash of '.*\.onnx'; export the models again"):
        SharedPredictor.load(folder)
