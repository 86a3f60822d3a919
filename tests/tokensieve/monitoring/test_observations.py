"""What a served model makes of texts, against its predictor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tokensieve.errors import InputError
from tokensieve.inference.manifest import MODEL, Manifest
from tokensieve.inference.predictor import Predictor
from tokensieve.monitoring.observations import observe

TEXTS = ["where is my parcel", "cancel it please", "zqxj", ""]


def test_observations_are_the_predictors(served_folder: Path) -> None:
    found, predicted = observe(served_folder, TEXTS), Predictor.load(served_folder).predict(TEXTS)
    labels = Manifest.load(served_folder).labels
    assert len(found) == len(TEXTS)
    assert [labels[i] for i in found.labels] == [prediction.top[0][0] for prediction in predicted]
    assert found.uncertain.tolist() == [prediction.uncertain for prediction in predicted]
    assert found.confidence == pytest.approx([prediction.top[0][1] for prediction in predicted], abs=1e-5)
    assert found.classes == len(labels)


def test_states_give_the_logits_with_the_heads_weights(served_folder: Path) -> None:
    states = observe(served_folder, TEXTS).states
    graph = onnx.load(served_folder / MODEL).graph
    weights = {item.name: numpy_helper.to_array(item) for item in graph.initializer}["weights"]
    logits = Predictor.load(served_folder).logits(TEXTS)
    assert states @ weights == pytest.approx(logits, abs=1e-5)


def test_the_files_of_the_model_stay_as_they_are(served_folder: Path) -> None:
    before = {path: path.read_bytes() for path in served_folder.iterdir() if path.is_file()}
    observe(served_folder, TEXTS)
    assert {path: path.read_bytes() for path in served_folder.iterdir() if path.is_file()} == before


def test_unknown_words_count_as_fragmented(served_folder: Path) -> None:
    shares = observe(served_folder, ["where", "zqxj ♞♞♞", ""]).fragmented
    assert shares[1] > 0
    assert shares[2] == 0


def test_taken_rows_keep_their_order(served_folder: Path) -> None:
    found = observe(served_folder, TEXTS)
    taken = found.take(np.array([2, 0]))
    assert taken.tokens.tolist() == [found.tokens[2], found.tokens[0]]
    assert taken.classes == found.classes


def test_a_graph_without_a_head_is_refused(tmp_path: Path) -> None:
    from tokensieve.monitoring.observations import _with_states

    graph = helper.make_graph(
        [helper.make_node("Identity", ["input_ids"], ["logits"])],
        "no_head",
        [helper.make_tensor_value_info("input_ids", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1])],
    )
    with pytest.raises(InputError, match="no dense layer before 'logits'; export the model again"):
        _with_states(tmp_path / MODEL, helper.make_model(graph).SerializeToString())
