"""Load a model folder: a `Predictor` for one task, or a `SharedPredictor` for several tasks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tokensieve.inference import manifest, shared_predictor
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.prediction import Prediction
from tokensieve.inference.predictor import Predictor
from tokensieve.inference.session import Floats, Ids
from tokensieve.inference.shared_predictor import SharedPredictor
from tokensieve.inference.token_ids import TokenIds
from tokensieve.inference.words import Span
from tokensieve.text_rule import TextOrColumns, TextRule

PredictionsByTask = Mapping[str, list[Prediction]]  # one prediction per text, by task


class Model(Protocol):
    """The methods that `Predictor` and `SharedPredictor` have in common.

    Several threads may use a model at once.
    """

    @property
    def tasks(self) -> Mapping[str, Manifest]:
        """The manifest of each task. A single task is named `prediction.SINGLE_TASK`."""

    @property
    def classes(self) -> int:
        """The number of logits per text, of all tasks together."""

    @property
    def text_rule(self) -> TextRule:
        """How a row becomes a text."""

    @property
    def phrases(self) -> Collection[str]:
        """The constructs of several words, which `explain` removes as a whole; empty if unknown."""

    @property
    def prompt(self) -> str:
        """The text that the tokenizer puts in front of every text; empty if there is none."""

    def predict_by_task(self, texts: Sequence[TextOrColumns], top: int = 3) -> PredictionsByTask:
        """Return one prediction per text by task, each with the `top` most likely labels.

        Raises:
            InputError: If `top` is less than 1, or `TextRule.text` raises it.
        """

    def tokenize(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return the token ids of each text, at least one per text."""

    def tokenize_with_spans(self, text: str) -> tuple[TokenIds, list[Span]]:
        """Return the token ids of a text without surrogates, and the span of each token in it.

        Special tokens have an empty span.
        """

    def run(self, ids: Sequence[Sequence[int]] | Ids) -> Floats:
        """Return the logits, float32 [texts, classes], of texts with equal numbers of tokens."""

    def by_task(self, logits: Floats) -> Mapping[str, Floats]:
        """Return the logits of each task, of those of `run`."""

    def decide(self, logits: Floats, texts: Sequence[TokenIds], top: int) -> PredictionsByTask:
        """Return the predictions for texts with these tokens and `logits`, by task.

        Raises:
            InputError: If `top` is less than 1.
        """


def load(folder: Path, threads: int) -> Model:
    """Load the model in `folder`, which computes with `threads` threads.

    Raises:
        InputError: If `Predictor.load` or `SharedPredictor.load` raises it.
    """
    kind = SharedPredictor if manifest_path(folder).name == shared_predictor.NAME else Predictor
    return kind.load(folder, threads)


def manifest_path(folder: Path) -> Path:
    """Return the path of the manifest, which an export writes last.

    It has the hashes of all other files of the folder.
    """
    shared = folder / shared_predictor.NAME
    return shared if shared.exists() else folder / manifest.NAME
