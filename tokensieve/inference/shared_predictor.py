"""Predict several tasks for each text with models that share their lower layers.

The shared layers are computed once per text. A shared folder has `prefix.onnx` (the shared layers),
a suffix graph per task, the tokenizer, and `shared.json` with the manifest of each task, which is
written last. Only numpy, onnxruntime and tokenizers are needed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tokensieve.cpus import cores
from tokensieve.errors import InputError, excerpt
from tokensieve.files import sha256
from tokensieve.inference.listed_files import are_hashes, read_files
from tokensieve.inference.manifest import TOKENIZER, Manifest, read_tree, write_tree
from tokensieve.inference.phrases import NAME as PHRASES
from tokensieve.inference.phrases import read_phrases
from tokensieve.inference.prediction import Prediction, predictions
from tokensieve.inference.predictor import load_tokenizer, run_batches
from tokensieve.inference.prompt import prompt_of
from tokensieve.inference.session import IDS, LOGITS, STATES, Engine, Floats, Ids, load_engine
from tokensieve.inference.token_ids import BoundedTokenizer, TokenIds
from tokensieve.inference.words import Span
from tokensieve.processor import warn_of_overflow
from tokensieve.text_rule import TextOrColumns, TextRule
from tokensieve.truncation import HEAD

FORMAT = 1
# The formats for models that do not read the head of a long text, and for models with a rule for
# their texts. Older versions refuse them.
TRUNCATING, RULED = 2, 3
NAME = "shared.json"
PREFIX = "prefix.onnx"


class SharedPredictor:
    """A loaded shared folder. Several threads may use it at once."""

    def __init__(
        self,
        tasks: Mapping[str, Manifest],
        tokenizer: BoundedTokenizer,
        prefix: Engine,
        suffixes: Mapping[str, Engine],
        phrases: Collection[str] = (),
        prompt: str = "",
    ) -> None:
        """Combine the shared layers, `prefix`, with the rest of each task's model, `suffixes`."""
        self.tasks, self.phrases, self.prompt = dict(tasks), phrases, prompt
        self._tokenizer, self._prefix, self._suffixes = tokenizer, prefix, dict(suffixes)
        ends = np.cumsum([len(manifest.labels) for manifest in tasks.values()]).tolist()
        self.classes: int = ends[-1]
        self._columns = dict(zip(tasks, map(slice, [0, *ends[:-1]], ends), strict=True))

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> SharedPredictor:
        """Load a shared folder. Its files are checked against its shared.json.

        Args:
            folder: A model folder of several tasks.
            threads: The number of threads that compute; None for one per usable core.

        Raises:
            InputError: If there is no shared.json, if one of its values is not allowed, if a file
                is missing, changed or unreadable, or if the number of classes of a model differs
                from the number of its labels.
        """
        path, threads = folder / NAME, threads or cores()
        tree = _read(path)
        files = read_files(folder, tree["files"], NAME)
        manifests = {name: Manifest.from_tree(task, path) for name, task in tree["tasks"].items()}
        first = next(iter(manifests.values()))
        tokenizer = load_tokenizer(folder / TOKENIZER, files[TOKENIZER], first.max_length, first.truncation)
        prefix = load_engine(folder / PREFIX, first.variant, threads, IDS, STATES, files)
        warn_of_overflow(folder, first.int8_bits)
        suffixes = {}
        states = prefix.run(np.array([[0]], dtype=np.int64))
        for name, manifest in manifests.items():
            graph = folder / suffix_name(name)
            suffix = load_engine(graph, manifest.variant, threads, STATES, LOGITS, files)
            classes, labels = suffix.run(states).shape[1], len(manifest.labels)
            if classes != labels:
                raise InputError(
                    f"{graph} has {classes} classes, its task {labels} labels; export the models again"
                )
            suffixes[name] = suffix
        bounded = BoundedTokenizer(tokenizer, first.max_length, first.truncation)
        prompt = prompt_of(files[TOKENIZER])
        return cls(manifests, bounded, prefix, suffixes, read_phrases(folder, files), prompt)

    @property
    def text_rule(self) -> TextRule:
        """How a row becomes a text. It is the same for all tasks."""
        return next(iter(self.tasks.values())).text_rule

    def predict_by_task(self, texts: Sequence[TextOrColumns], top: int = 3) -> dict[str, list[Prediction]]:
        """Return one prediction per text by task, in the order of the texts.

        Each has the `top` most likely labels. For models of several columns, a text may be given as
        the values of a row by column.

        Raises:
            InputError: If `top` is less than 1, or `TextRule.text` raises it.
        """
        tokens = self.tokenize(self.text_rule.texts(texts))
        return self.decide(self._logits(tokens), tokens, top)

    def logits(self, texts: Sequence[str]) -> dict[str, Floats]:
        """Return the logits, float32 [texts, classes], by task, in the order of the texts."""
        return self.by_task(self._logits(self.tokenize(texts)))

    def by_task(self, logits: Floats) -> dict[str, Floats]:
        """Return the columns of each task, of logits that have the form of those of `run`."""
        return {name: logits[:, columns] for name, columns in self._columns.items()}

    def tokenize(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return the token ids of each text, at least one per text. All tasks have the same ids."""
        return self._tokenizer.tokenize(self.text_rule.all_cleaned(texts))

    def tokenize_with_spans(self, text: str) -> tuple[TokenIds, list[Span]]:
        """Return the token ids of a text without surrogates, and the span of each token in it."""
        return self._tokenizer.tokenize_with_spans(self.text_rule.cleaned(text))

    def run(self, ids: Sequence[Sequence[int]] | Ids) -> Floats:
        """Return the logits, float32 [texts, classes], of texts with equal numbers of tokens.

        The columns of the first task come first, then those of the second task, and so on.
        """
        states = self._prefix.run(np.array(ids, dtype=np.int64))
        return np.concatenate([suffix.run(states) for suffix in self._suffixes.values()], axis=1)

    def decide(self, logits: Floats, texts: Sequence[TokenIds], top: int) -> dict[str, list[Prediction]]:
        """Return the predictions for texts with these tokens and `logits`, by task.

        The logits have the form of those of `run`.

        Raises:
            InputError: If `top` is less than 1.
        """
        by_task = self.by_task(logits)
        truncated, blank = [text.truncated for text in texts], [text.blank for text in texts]
        return {
            name: predictions(by_task[name], manifest, truncated, blank, top)
            for name, manifest in self.tasks.items()
        }

    def _logits(self, tokens: Sequence[TokenIds]) -> Floats:
        return run_batches(self.run, [text.ids for text in tokens], self.classes)


def suffix_name(task: str) -> str:
    """Return the file name of a task's graph."""
    return f"{task}.onnx"


def save_manifest(folder: Path, tasks: Mapping[str, Manifest], layers: int) -> None:
    """Write the shared.json of `folder` with the hashes of its files: the last step of an export.

    Args:
        folder: The folder with all other files of the export.
        tasks: The manifest of each task.
        layers: The number of layers that the tasks share.
    """
    phrases = [PHRASES] if (folder / PHRASES).exists() else []
    names = (PREFIX, TOKENIZER, *phrases, *map(suffix_name, tasks))
    files = {name: sha256(folder / name) for name in names}
    version = FORMAT if all(task.truncation == HEAD for task in tasks.values()) else TRUNCATING
    version = version if all(task.text_rule == TextRule() for task in tasks.values()) else RULED
    trees = {name: manifest.tree() for name, manifest in tasks.items()}
    write_tree(folder / NAME, {"format": version, "layers": layers, "files": files, "tasks": trees})


def _read(path: Path) -> dict[str, Any]:
    tree = read_tree(path, FORMAT, TRUNCATING, RULED)
    if not are_hashes(tree.get("files")) or not isinstance(tree.get("tasks"), dict) or not tree["tasks"]:
        raise InputError(f"{path} lacks its files or its tasks; export the models again")
    # The name of a task is the name of a file, and only files with a hash are loaded.
    missing = {PREFIX, TOKENIZER, *map(suffix_name, tree["tasks"])} - tree["files"].keys()
    if missing or not all(isinstance(task, dict) for task in tree["tasks"].values()):
        raise InputError(
            f"{path} has no hash of {excerpt(min(missing, default='its tasks'))}; export the models again"
        )
    return tree
