"""A served folder: of one task (`Predictor`), or of several that share layers (`SharedPredictor`), and what can be asked of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tokensieve.inference import manifest, shared_predictor
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.predictor import LabelSet, Prediction, Predictor
from tokensieve.inference.shared_predictor import SharedPredictor
from tokensieve.inference.token_ids import Encoded

Logits = npt.NDArray[np.float32]
Answers = Mapping[str, list[Prediction | LabelSet]]  # by task, an answer a text


class Model(Protocol):
    """It is used from many threads at once."""

    @property
    def tasks(self) -> Mapping[str, Manifest]:
        """The manifest of each task; `predictor.ONLY` names that of a model with a single one."""

    @property
    def classes(self) -> int:
        """How many logits a text has, of all tasks together."""

    def predict_by_task(self, texts: Sequence[str], top: int = 3) -> Answers:
        """By task an answer a text, in their order, each with the `top` likeliest labels. Raises InputError: `top` is less than 1."""

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """The token ids of each text, at least one."""

    def run(self, ids: Sequence[Sequence[int]]) -> Logits:
        """Logits [texts, classes] of texts that all have the same number of tokens."""

    def answers_by_task(self, logits: Logits, truncated: Sequence[bool], top: int) -> Answers:
        """What `logits` [texts, classes] say of texts of which some were `truncated`."""


def manifest_of(folder: Path) -> Path:
    """The file of a served folder that an export writes last and that holds the hashes of the others."""
    several = folder / shared_predictor.NAME
    return several if several.exists() else folder / manifest.NAME


def load(folder: Path, threads: int) -> Model:
    """The model of a served folder, to compute with `threads` threads. Raises InputError: as `Predictor.load`, `SharedPredictor.load`."""
    kind = SharedPredictor if manifest_of(folder).name == shared_predictor.NAME else Predictor
    return kind.load(folder, threads)
