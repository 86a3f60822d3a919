"""A project with an SQLite registry, versions of its model that load and answer, and models that
answer by single words, made without PyTorch.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import tokenizers
from mlflow import MlflowClient
from onnx import TensorProto, helper, numpy_helper

from tokensieve.data.text_hashes import NAME, save_hashes
from tokensieve.inference.manifest import Manifest
from tokensieve.project import Layout
from tokensieve.settings import render

UNKNOWN = "[UNK]"


@pytest.fixture
def layout(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A project in a folder named tickets, with an empty registry."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    layout = Layout(tmp_path / "tickets")
    layout.root.mkdir()
    shutil.copy(database, layout.at("mlflow.db"))
    layout.params.write_text(render(), encoding="utf-8")
    return layout


@pytest.fixture
def client(layout: Layout) -> MlflowClient:
    uri = f"sqlite:///{layout.at('mlflow.db')}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.fixture
def register(layout: Layout, client: MlflowClient, served_folder: Path) -> Callable[..., None]:
    """Register versions of the model 'tickets', each with files of its own; the last is the
    challenger.
    """

    def versions(count: int, tags: dict[str, str] | None = None, **metrics: float) -> None:
        if not client.search_registered_models():
            client.create_registered_model("tickets")
        for _ in range(count):
            run = client.create_run("0")
            for key, value in metrics.items():
                client.log_metric(run.info.run_id, key, value)
            number = str(len(client.search_model_versions("name = 'tickets'")) + 1)
            folder = layout.at(f"model-{number}")
            shutil.copytree(served_folder, folder / "data" / "onnx")
            made = client.create_model_version("tickets", folder.as_uri(), run.info.run_id, tags)
            client.set_registered_model_alias("tickets", "challenger", str(made.version))

    return versions


@pytest.fixture
def export_words() -> Callable[..., Path]:
    """Writes a model that gives each text the label its words mean, and returns its folder."""
    return _export


def _export(
    folder: Path,
    meanings: Mapping[str, str],
    labels: Sequence[str],
    trained: Iterable[str] | None = (),
    multi_label: bool = False,
    strength: float = 8.0,
) -> Path:
    """Write the model to `folder`. `trained` None: without the hashes of its texts."""
    folder.mkdir(parents=True)
    words = {word: place for place, word in enumerate([UNKNOWN, *meanings])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    votes = np.zeros((len(words), len(labels)), np.float32)
    for word, label in meanings.items():
        votes[words[word], labels.index(label)] = strength
    bias = np.full(len(labels), -strength / 2 if multi_label else 0.0, np.float32)
    nodes = [
        helper.make_node("Gather", ["votes", "input_ids"], ["voted"]),
        helper.make_node("ReduceMax", ["voted"], ["most"], axes=[1], keepdims=0),
        helper.make_node("Add", ["most", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "words",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(labels)])],
        [numpy_helper.from_array(votes, "votes"), numpy_helper.from_array(bias, "bias")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), folder / "model.onnx")
    files = {}
    if trained is not None:
        save_hashes(folder / NAME, trained)
        files = {NAME: ""}
    thresholds = (0.5,) * len(labels) if multi_label else ()
    Manifest(tuple(labels), 1.0, 0.6, 16, "hash", "tiny", {}, files, thresholds).save(folder)
    return folder
