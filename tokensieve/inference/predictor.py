"""Predict labels with calibrated probabilities, from a model folder.

Only numpy, onnxruntime and tokenizers are imported, so a process that only predicts starts within a
second.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import tokenizers

from tokensieve.cpus import cores
from tokensieve.errors import InputError
from tokensieve.inference.manifest import MODEL, TOKENIZER, Manifest
from tokensieve.inference.phrases import read_phrases
from tokensieve.inference.prediction import SINGLE_TASK, Prediction, predictions
from tokensieve.inference.prompt import prompt_of
from tokensieve.inference.session import Engine, Floats, Ids, load_engine
from tokensieve.inference.token_ids import BoundedTokenizer, TokenIds
from tokensieve.inference.words import Span
from tokensieve.processor import warn_of_overflow
from tokensieve.text_rule import TextOrColumns, TextRule
from tokensieve.truncation import HEAD

# Tokens per run of the graph. With MiniLM on one thread, 512 questions of 4 to 62 tokens take 3.1
# ms per text from 256 tokens on, 3.5 ms with 64 tokens, and 4.7 ms one by one. More tokens only
# need more memory.
BATCH_TOKENS = 512


class Predictor:
    """A loaded model of one task. Several threads may use it at once."""

    def __init__(
        self,
        manifest: Manifest,
        tokenizer: tokenizers.Tokenizer,
        engine: Engine,
        phrases: Collection[str] = (),
        prompt: str = "",
    ) -> None:
        self.manifest, self.phrases, self.prompt = manifest, phrases, prompt
        self._tokenizer = BoundedTokenizer(tokenizer, manifest.max_length, manifest.truncation)
        self._engine = engine

    @classmethod
    def load(cls, model: str | Path, threads: int | None = None) -> Predictor:
        """Load a model folder. Its files are checked against the manifest.

        Args:
            model: A model folder, or `models:/NAME@ALIAS` or `models:/NAME/VERSION` in a registry.
                The registry is that of the environment variable MLFLOW_TRACKING_URI, or of the
                project in the working directory.
            threads: The number of threads that compute; None for one per usable core.

        Raises:
            InputError: If the registry has no such version, if `Manifest.load` raises it, if the
                installed onnxruntime or tokenizers cannot read a file, or if the model has other
                inputs, outputs or classes than its manifest.
            RegistryError: If the registry does not respond and the version was not downloaded
                before.
        """
        if isinstance(model, str) and model.startswith("models:/"):
            from tokensieve.registry.models import fetch_version  # only here: a folder needs no registry

            model = fetch_version(model)
        folder = Path(model)
        manifest, files = Manifest.load_with_files(folder)
        tokenizer = load_tokenizer(
            folder / TOKENIZER, files[TOKENIZER], manifest.max_length, manifest.truncation
        )
        engine = load_engine(folder / MODEL, manifest.variant, threads or cores(), files=files)
        predictor = cls(manifest, tokenizer, engine, read_phrases(folder, files), prompt_of(files[TOKENIZER]))
        warn_of_overflow(folder, manifest.int8_bits)
        classes = predictor.run([[0]]).shape[1]
        if classes != len(manifest.labels):
            raise InputError(
                f"{folder / MODEL} has {classes} classes, its manifest {len(manifest.labels)} labels; export "
                "the model again"
            )
        return predictor

    @property
    def tasks(self) -> dict[str, Manifest]:
        """The manifest, by the name of the only task, `SINGLE_TASK`."""
        return {SINGLE_TASK: self.manifest}

    @property
    def classes(self) -> int:
        """The number of logits per text."""
        return len(self.manifest.labels)

    @property
    def text_rule(self) -> TextRule:
        """How a row becomes a text."""
        return self.manifest.text_rule

    def predict(self, texts: Sequence[TextOrColumns], top: int = 3) -> list[Prediction]:
        """Return one prediction per text, in the order of the texts.

        Each has the `top` most likely labels. For a model of several columns, a text may be given
        as the values of a row by column.

        Raises:
            InputError: If `top` is less than 1, or `TextRule.text` raises it.
        """
        return self.predict_by_task(texts, top)[SINGLE_TASK]

    def predict_by_task(self, texts: Sequence[TextOrColumns], top: int = 3) -> dict[str, list[Prediction]]:
        """Return the result of `predict`, by the name of the only task."""
        tokens = self.tokenize(self.text_rule.texts(texts))
        logits = run_batches(self._engine.run, [text.ids for text in tokens], self.classes)
        return self.decide(logits, tokens, top)

    def logits(self, texts: Sequence[str]) -> Floats:
        """Return the logits, float32 [texts, classes], in the order of the texts."""
        return run_batches(self._engine.run, [text.ids for text in self.tokenize(texts)], self.classes)

    def tokenize(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return the token ids that the model reads of each text, at least one per text."""
        return self._tokenizer.tokenize(self.text_rule.all_cleaned(texts))

    def tokenize_with_spans(self, text: str) -> tuple[TokenIds, list[Span]]:
        """Return the token ids of a text without surrogates, and the span of each token in it."""
        return self._tokenizer.tokenize_with_spans(self.text_rule.cleaned(text))

    def by_task(self, logits: Floats) -> dict[str, Floats]:
        """Return the logits by the name of the only task."""
        return {SINGLE_TASK: logits}

    def run(self, ids: Sequence[Sequence[int]] | Ids) -> Floats:
        """Return the logits, float32 [texts, classes], of texts with equal numbers of tokens."""
        return self._engine.run(np.array(ids, dtype=np.int64))

    def decide(self, logits: Floats, texts: Sequence[TokenIds], top: int) -> dict[str, list[Prediction]]:
        """Return the predictions for texts with these tokens and `logits` [texts, classes].

        The key is the name of the only task.

        Raises:
            InputError: If `top` is less than 1.
        """
        truncated, blank = [text.truncated for text in texts], [text.blank for text in texts]
        return {SINGLE_TASK: predictions(logits, self.manifest, truncated, blank, top)}


def run_batches(run: Callable[[Ids], Floats], ids: Sequence[Sequence[int]], classes: int) -> Floats:
    """Return the logits, float32 [texts, classes], of the token ids of each text.

    `run` is called with texts of equal length, int64 [texts, length].
    """
    logits = np.empty((len(ids), classes), dtype=np.float32)
    for group in batches([len(text) for text in ids], BATCH_TOKENS):
        logits[group] = run(np.array([ids[index] for index in group], dtype=np.int64))
    return logits


def batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield batches of indices of texts of equal length, with at most `most` tokens per batch.

    A single text may have more. Nothing is padded, because attention takes as long for a padded
    text as for the longest one of its batch. The speed of batches of equal length was within a
    tenth of that of the best batches with padding.
    """
    members: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        members.setdefault(length, []).append(index)
    for length, indices in members.items():
        size = max(1, most // length)
        for start in range(0, len(indices), size):
            yield indices[start : start + size]


def load_tokenizer(
    path: Path, content: bytes, max_length: int, truncation: str = HEAD
) -> tokenizers.Tokenizer:
    """Return the tokenizer in `content`, the content of the file `path`. It does not pad.

    With the truncation `head`, it keeps the first `max_length` tokens, otherwise all tokens.

    Raises:
        InputError: If the installed version of tokenizers cannot read it.
    """
    try:
        tokenizer = tokenizers.Tokenizer.from_buffer(content)
    except Exception as error:  # tokenizers raises nothing narrower
        raise InputError(
            f"{path} cannot be read by tokenizers {tokenizers.__version__} ({error}); install the version it "
            "was exported with"
        ) from None
    tokenizer.no_padding()
    if truncation == HEAD:
        tokenizer.enable_truncation(max_length)
    else:
        tokenizer.no_truncation()
    return tokenizer
