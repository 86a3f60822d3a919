"""Answers of an exported model: texts in, labels with calibrated probabilities out.

Needs numpy, onnxruntime and tokenizers alone, so that a process that only predicts starts in a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from tokensieve.cpus import cores
from tokensieve.errors import InputError
from tokensieve.inference.decisions import certainty, sigmoid, softmax
from tokensieve.inference.manifest import MODEL, TOKENIZER, Manifest
from tokensieve.inference.session import Engine, engine
from tokensieve.inference.token_ids import Encoded, Encoder
from tokensieve.truncation import HEAD

# Tokens of one run of the graph. MiniLM on one thread, 512 questions of 4 to 62 tokens: 3.1 ms a text from 256 tokens on, 3.5 at 64,
# 4.7 one by one. More tokens only take more memory.
BUDGET = 512
ONLY = ""  # the task of a model that has a single one


@dataclass(frozen=True)
class Prediction:
    """The answer for one text: its label, how sure it is, and the labels that came first, as (label, probability).

    `uncertain`: the probability is below the model's threshold, or leads the second one by less than its margin. `truncated`: the text
    had more tokens than the model reads.
    """

    label: str
    probability: float
    uncertain: bool
    truncated: bool
    top: tuple[tuple[str, float], ...]

    def row(self) -> dict[str, Any]:
        """The answer as a table's columns; `top` is left out."""
        return {
            "label": self.label,
            "probability": self.probability,
            "uncertain": self.uncertain,
            "truncated": self.truncated,
        }


@dataclass(frozen=True)
class LabelSet:
    """The answer for one text that may have any number of labels: those it has, as (label, probability), the likeliest first.

    `uncertain`: the label closest to its own threshold is closer than the model's `threshold` allows (`metrics.certainty`). `top`
    holds the likeliest labels, whether the text has them or not.
    """

    labels: tuple[tuple[str, float], ...]
    uncertain: bool
    truncated: bool
    top: tuple[tuple[str, float], ...]

    def row(self) -> dict[str, Any]:
        """The answer as a table's columns, a label's probability at the label's place; `top` is left out."""
        columns: dict[str, Any] = {
            "labels": [label for label, _ in self.labels],
            "probabilities": [chance for _, chance in self.labels],
        }
        return columns | {"uncertain": self.uncertain, "truncated": self.truncated}


class Predictor:
    """A served folder, loaded. It may be used from many threads at once."""

    def __init__(self, manifest: Manifest, tokenizer: tokenizers.Tokenizer, engine: Engine) -> None:
        self.manifest = manifest
        self._encoder = Encoder(tokenizer, manifest.max_length, manifest.truncation)
        self._engine = engine

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> Predictor:
        """The model of a served folder, checked against its manifest; it computes with `threads` threads, or all that `cores` finds.

        Raises:
            InputError: as `Manifest.load`, or a file that the installed onnxruntime or tokenizers cannot read, or a model with
                other inputs, outputs or classes than a manifest promises.
        """
        manifest, files = Manifest.load_with_files(folder)
        tokenizer = tokenizer_of(
            folder / TOKENIZER, files[TOKENIZER], manifest.max_length, manifest.truncation
        )
        predictor = cls(manifest, tokenizer, engine(folder, manifest, threads or cores(), files))
        classes = predictor.run([[0]]).shape[1]
        if classes != len(manifest.labels):
            raise InputError(
                f"{folder / MODEL} has {classes} classes, its manifest {len(manifest.labels)} labels; export the model again"
            )
        return predictor

    @property
    def tasks(self) -> dict[str, Manifest]:
        """The manifest of its one task, named `ONLY`."""
        return {ONLY: self.manifest}

    @property
    def classes(self) -> int:
        """How many logits a text has."""
        return len(self.manifest.labels)

    def logits(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """The raw outputs, [texts, classes], in the order of the texts."""
        return self._run([encoded.ids for encoded in self.encode(texts)])

    def predict(self, texts: Sequence[str], top: int = 3) -> list[Prediction | LabelSet]:
        """An answer a text, in the order of the texts, each with the `top` likeliest labels.

        Of which kind they are, the model's manifest says: with `thresholds`, label sets.

        Raises:
            InputError: `top` is less than 1.
        """
        encoded = self.encode(texts)
        return self.answers(
            self._run([text.ids for text in encoded]), [text.truncated for text in encoded], top
        )

    def predict_by_task(self, texts: Sequence[str], top: int = 3) -> dict[str, list[Prediction | LabelSet]]:
        """`predict`, under the name of the one task."""
        return {ONLY: self.predict(texts, top)}

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """The token ids of each text, at least one, as the model reads them."""
        if isinstance(texts, str):
            raise TypeError("texts is one text; give a list of texts")
        # A tokenizer without special tokens makes nothing of an empty text: the graph then sees one token.
        return [
            encoded if encoded.ids else Encoded([0], encoded.truncated)
            for encoded in self._encoder.encode(texts)
        ]

    def run(self, ids: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        """Logits [texts, classes] of texts that all have the same number of tokens, in one run of the graph."""
        return self._engine.run(np.array(ids, dtype=np.int64))

    def answers(
        self, logits: npt.NDArray[np.float32], truncated: Sequence[bool], top: int
    ) -> list[Prediction | LabelSet]:
        """What `logits` [texts, classes] say of texts of which some were `truncated`. Raises InputError: `top` is less than 1."""
        if top < 1:
            raise InputError(f"top is {top}; allowed: at least 1")
        return (
            self._label_sets(logits, truncated, top)
            if self.manifest.thresholds
            else self._predictions(logits, truncated, top)
        )

    def answers_by_task(
        self, logits: npt.NDArray[np.float32], truncated: Sequence[bool], top: int
    ) -> dict[str, list[Prediction | LabelSet]]:
        """`answers`, under the name of the one task."""
        return {ONLY: self.answers(logits, truncated, top)}

    def _predictions(
        self, logits: npt.NDArray[np.float32], truncated: Sequence[bool], top: int
    ) -> list[Prediction | LabelSet]:
        predictions: list[Prediction | LabelSet] = []
        chances = softmax(logits, self.manifest.temperature)
        for row, order, cut in zip(chances, _likeliest(chances), truncated, strict=True):
            named = self._named(row, order[:top])
            label, probability = named[0]
            doubtful = (
                probability < self.manifest.threshold or probability - row[order[1]] < self.manifest.margin
            )
            predictions.append(Prediction(label, probability, bool(doubtful), cut, named))
        return predictions

    def _label_sets(
        self, logits: npt.NDArray[np.float32], truncated: Sequence[bool], top: int
    ) -> list[Prediction | LabelSet]:
        sets: list[Prediction | LabelSet] = []
        chances, thresholds = sigmoid(logits, self.manifest.temperature), np.array(self.manifest.thresholds)
        doubts = certainty(chances, thresholds) < self.manifest.threshold
        for row, order, doubt, cut in zip(chances, _likeliest(chances), doubts, truncated, strict=True):
            given = order[row[order] >= thresholds[order]]
            sets.append(LabelSet(self._named(row, given), bool(doubt), cut, self._named(row, order[:top])))
        return sets

    def _named(
        self, chances: npt.NDArray[np.float64], places: npt.NDArray[np.intp]
    ) -> tuple[tuple[str, float], ...]:
        return tuple((self.manifest.labels[place], float(chances[place])) for place in places)

    def _run(self, ids: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        return logits_of(self._engine.run, ids, self.classes)


def logits_of(
    run: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]],
    ids: Sequence[Sequence[int]],
    classes: int,
) -> npt.NDArray[np.float32]:
    """Logits [texts, classes] of the token ids of each text, those of equal length in one `run`."""
    logits = np.empty((len(ids), classes), dtype=np.float32)
    for group in groups([len(text) for text in ids], BUDGET):
        logits[group] = run(np.array([ids[index] for index in group], dtype=np.int64))
    return logits


def _likeliest(chances: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """The places of the labels of each text, [texts, classes], the likeliest first."""
    return np.argsort(-chances, axis=1, kind="stable")


def groups(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices of equal length, at most `budget` tokens together (one text may be longer).

    Nothing is ever padded: attention costs the longest text of a batch for each, and groups of equal length were within a
    tenth of the best grouping with padding.
    """
    members: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        members.setdefault(length, []).append(index)
    for length, indices in members.items():
        size = max(1, budget // length)
        for start in range(0, len(indices), size):
            yield indices[start : start + size]


def tokenizer_of(path: Path, content: bytes, max_length: int, truncation: str = HEAD) -> tokenizers.Tokenizer:
    """The served tokenizer in `content`, the file at `path`, which pads nothing.

    With `truncation` head it keeps the first `max_length` tokens, otherwise all.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        tokenizer = tokenizers.Tokenizer.from_buffer(content)
    except Exception as error:  # it raises nothing narrower
        raise InputError(
            f"{path} cannot be read by tokenizers {tokenizers.__version__} ({error}); install the version it was exported with"
        ) from None
    tokenizer.no_padding()
    if truncation == HEAD:
        tokenizer.enable_truncation(max_length)
    else:
        tokenizer.no_truncation()
    return tokenizer
