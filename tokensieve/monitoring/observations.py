"""What a served model makes of some texts: states, probabilities and token counts, without PyTorch.

The states are those that enter the head, which the served graph computes anyway. They become a
second output of the graph in memory; the files stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import tokenizers

from tokensieve.cpus import cores
from tokensieve.errors import InputError
from tokensieve.inference.decisions import certainty, decide
from tokensieve.inference.manifest import MODEL, TOKENIZER, Manifest
from tokensieve.inference.predictor import load_tokenizer, run_batches
from tokensieve.inference.session import IDS, LOGITS, ONE_TEXT_PER_RUN, Ids, create_session
from tokensieve.inference.token_ids import BoundedTokenizer, replace_surrogates

Floats = npt.NDArray[np.floating[Any]]

# Operators of a dense layer, in float and quantized.
PRODUCTS = (
    "Gemm",
    "MatMul",
    "FusedGemm",
    "FusedMatMul",
    "MatMulNBits",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
)
QUANTIZERS = ("DynamicQuantizeLinear", "QuantizeLinear", "Cast")


@dataclass(frozen=True)
class Observations:
    """What a model makes of some texts. All arrays have a row per text.

    Attributes:
        states: The pooled states that enter the head, float32 [texts, width].
        labels: Index of the most likely label, int64 [texts].
        confidence: The calibrated probability of that label; of a multi-label model, the certainty
            of its least certain label, float64 [texts].
        uncertain: Whether the model marks its prediction as uncertain, bool [texts].
        tokens: The number of tokens that the model reads, float64 [texts].
        fragmented: The share of words that are unknown or more than one token, float64 [texts].
        classes: The number of labels.
    """

    states: Floats
    labels: npt.NDArray[np.int64]
    confidence: Floats
    uncertain: npt.NDArray[np.bool_]
    tokens: Floats
    fragmented: Floats
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: npt.NDArray[np.int64]) -> Observations:
        """Return the observations of the texts at the indices `rows`."""
        arrays = {
            part.name: getattr(self, part.name)[rows] for part in fields(self) if part.name != "classes"
        }
        return replace(self, **arrays)


def observe(folder: Path, texts: Sequence[str]) -> Observations:
    """Return what the model in `folder` makes of `texts`.

    Raises:
        InputError: If the folder has no model of one task, or if it is damaged.
    """
    manifest, files = Manifest.load_with_files(folder)
    graph, output = _with_states(folder / MODEL, files[MODEL])
    tokenizer = load_tokenizer(folder / TOKENIZER, files[TOKENIZER], manifest.max_length, manifest.truncation)
    bounded = BoundedTokenizer(tokenizer, manifest.max_length, manifest.truncation)
    texts = manifest.text_rule.all_cleaned(list(texts))
    tokenized = bounded.tokenize(texts)
    ids = [text.ids for text in tokenized]
    session = create_session(
        folder / MODEL, cores(), cuda=manifest.variant == "fp16", files={**files, MODEL: graph}
    )

    def run(batch: Ids) -> npt.NDArray[np.float32]:
        rows = [batch[i : i + 1] for i in range(len(batch))] if one_by_one else [batch]
        return np.concatenate(
            [np.concatenate(session.run([output, LOGITS], {IDS: part}), 1) for part in rows]
        )

    one_by_one = manifest.variant in ONE_TEXT_PER_RUN
    classes = len(manifest.labels)
    computed = run_batches(run, ids, run(np.array([[0]])).shape[1])
    states, logits = computed[:, :-classes], computed[:, -classes:]
    decided = decide(logits, manifest.rule)
    confidence = (
        certainty(decided.probabilities, np.array(manifest.thresholds))
        if manifest.thresholds
        else decided.probabilities.max(1)
    )
    return Observations(
        states,
        decided.probabilities.argmax(1),
        confidence,
        ~decided.confident | np.array([text.blank for text in tokenized], dtype=np.bool_),
        np.array([len(text) for text in ids], dtype=np.float64),
        _fragmented(tokenizer, texts),
        classes,
    )


def _with_states(path: Path, content: bytes) -> tuple[bytes, str]:
    """Return the graph with the head's input as a second output, and the name of that output.

    Raises:
        InputError: If the graph has no dense layer before its logits.
    """
    model = onnx.load_model_from_string(content)
    makers = {name: node for node in model.graph.node for name in node.output}
    name = LOGITS
    while name in makers and makers[name].op_type not in PRODUCTS:
        name = makers[name].input[0]
    if name not in makers:
        raise InputError(f"{path} has no dense layer before '{LOGITS}'; export the model again")
    name = makers[name].input[0]
    while name in makers and makers[name].op_type in QUANTIZERS:
        name = makers[name].input[0]
    model.graph.output.append(onnx.ValueInfoProto(name=name))
    return model.SerializeToString(), name


def _fragmented(tokenizer: tokenizers.Tokenizer, texts: Sequence[str]) -> Floats:
    """Return for each text the share of its words that are unknown or more than one token."""
    unknown = getattr(tokenizer.model, "unk_token", None)
    shares = []
    for encoding in tokenizer.encode_batch(
        [replace_surrogates(text) for text in texts], add_special_tokens=False
    ):
        pieces: dict[int, int] = {}
        for word, token in zip(encoding.word_ids, encoding.tokens, strict=True):
            if word is not None:
                pieces[word] = pieces.get(word, 0) + (2 if token == unknown else 1)
        shares.append(np.mean([count > 1 for count in pieces.values()]) if pieces else 0.0)
    return np.array(shares, dtype=np.float64)
