"""A tiny served folder: mean of word vectors, one matrix, four labels.

`Served.logits` computes the same in numpy.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import tokenizers
from onnx import TensorProto, helper, numpy_helper

from tokensieve.inference.manifest import TOKENIZER, Manifest
from tokensieve.inference.shared_predictor import PREFIX, save_manifest, suffix_name

LABELS = ("balance", "card_lost", "größe", "transfer")
WORDS = (
    "i",
    "lost",
    "my",
    "card",
    "what",
    "is",
    "balance",
    "send",
    "money",
    "to",
    "a",
    "friend",
    "please",
    "?",
    ".",
    "größe",
)
MAX_LENGTH = 12
THRESHOLDS = (0.9, 0.9, 0.96, 0.9935)  # of a model that gives any number of labels


@dataclass(frozen=True)
class Served:
    """A served folder and what its graph was made of.

    Tests that change files `write` a folder of their own.
    """

    folder: Path
    embedding: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]

    def logits(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """The plain reference: one text at a time."""
        tokenizer = tiny_tokenizer()
        tokenizer.enable_truncation(MAX_LENGTH)
        return np.stack(
            [
                self.embedding[tokenizer.encode(text).ids].mean(axis=0) @ self.weight + self.bias
                for text in texts
            ]
        )

    def write(self, folder: Path, special: bool = True, inputs: int = TensorProto.INT64) -> Path:
        """The same model in another folder, without special tokens or with inputs of another type
        if so asked.
        """
        folder.mkdir(exist_ok=True)
        tiny_tokenizer(special).save(str(folder / "tokenizer.json"))
        onnx.save(tiny_graph(self.embedding, self.weight, self.bias, inputs), folder / "model.onnx")
        self.manifest.save(folder)
        return folder

    def write_several(self, folder: Path) -> Path:
        """The same model giving any number of labels."""
        self.write(folder)
        replace(self.manifest, thresholds=THRESHOLDS, threshold=0.6).save(folder)
        return folder

    def write_shared(self, folder: Path) -> Path:
        """A folder of two tasks: "intent", the same model, and "topics", its opposite, which gives
        any number of labels.
        """
        folder.mkdir(exist_ok=True)
        tiny_tokenizer().save(str(folder / TOKENIZER))
        onnx.save(prefix_graph(self.embedding), folder / PREFIX)
        topics = replace(
            self.manifest, labels=LABELS[:3], thresholds=THRESHOLDS[:3], threshold=0.6, data_hash="topics"
        )
        onnx.save(suffix_graph(self.weight, self.bias), folder / suffix_name("intent"))
        onnx.save(suffix_graph(-self.weight[:, :3], self.bias[:3]), folder / suffix_name("topics"))
        save_manifest(folder, {"intent": self.manifest, "topics": topics}, layers=1)
        return folder

    @property
    def manifest(self) -> Manifest:
        """Without hashes: saving it accepts a folder's files as they are."""
        parity = {"texts": 10, "largest_difference": 1e-6, "agreement": 1.0}
        return Manifest(LABELS, 1.7, 0.8, MAX_LENGTH, "0123456789abcdef0123456789abcdef", "tiny", parity)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    draw = np.random.default_rng(7)
    embedding = draw.normal(size=(tiny_tokenizer().get_vocab_size(), 16)).astype(np.float32)
    weight, bias = (
        draw.normal(size=(16, len(LABELS))).astype(np.float32) * 3,
        draw.normal(size=len(LABELS)).astype(np.float32),
    )
    made = Served(tmp_path_factory.mktemp("served"), embedding, weight, bias)
    made.write(made.folder)
    return made


def tiny_tokenizer(special: bool = True) -> tokenizers.Tokenizer:
    """WordPiece with whole words, and letters for the rest; with `special` it puts [CLS] and [SEP]
    around a text.
    """
    letters = string.ascii_lowercase + string.digits
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(strip_accents=False)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    if special:
        ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=ends
        )
    return tokenizer


def tiny_graph(
    embedding: npt.NDArray[np.float32],
    weight: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
    inputs: int = TensorProto.INT64,
) -> onnx.ModelProto:
    """input_ids [batch, length] -> logits [batch, classes]: the mean of the rows, times
    `weight`.
    """
    ids = helper.make_tensor_value_info("input_ids", inputs, ["batch", "length"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(bias)])
    constants = {"embedding": embedding, "weight": weight, "bias": bias}
    return _model(
        [helper.make_node("Gather", ["embedding", "input_ids"], ["states"]), *_head()], ids, logits, constants
    )


def prefix_graph(embedding: npt.NDArray[np.float32]) -> onnx.ModelProto:
    """input_ids [batch, length] -> states [batch, length, width]: the rows."""
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])
    return _model(
        [helper.make_node("Gather", ["embedding", "input_ids"], ["states"])],
        ids,
        _states(embedding),
        {"embedding": embedding},
    )


def suffix_graph(weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> onnx.ModelProto:
    """states [batch, length, width] -> logits [batch, classes]: their mean, times `weight`."""
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(bias)])
    return _model(_head(), _states(weight.T), logits, {"weight": weight, "bias": bias})


def _states(rows: npt.NDArray[np.float32]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("states", TensorProto.FLOAT, ["batch", "length", rows.shape[1]])


def _head() -> list[onnx.NodeProto]:
    return [
        helper.make_node("ReduceMean", ["states"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
    ]


def _model(
    nodes: list[onnx.NodeProto],
    given: onnx.ValueInfoProto,
    made: onnx.ValueInfoProto,
    constants: dict[str, npt.NDArray[np.float32]],
) -> onnx.ModelProto:
    tensors = [
        numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()
    ]
    graph = helper.make_graph(nodes, "tiny", [given], [made], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
