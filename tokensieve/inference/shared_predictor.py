"""Answers of several tasks for one text by one pass through the layers that their models share.

A shared folder holds `prefix.onnx`, a suffix graph a task, the tokenizer, and shared.json, written last, with each task's manifest.
As the predictor, it needs numpy, onnxruntime and tokenizers alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tokensieve.cpus import cores
from tokensieve.errors import InputError, excerpt
from tokensieve.files import sha256
from tokensieve.inference.manifest import TOKENIZER, Manifest, contents, listed, read_tree, write_tree
from tokensieve.inference.predictor import LabelSet, Prediction, Predictor, logits_of, tokenizer_of
from tokensieve.inference.session import IDS, LOGITS, STATES, Engine, Floats, Ids, engine_of
from tokensieve.inference.token_ids import Encoded
from tokensieve.truncation import HEAD

FORMAT = 1
TRUNCATING = 2  # of models that do not read the head of a long text, which older versions do not know of
NAME = "shared.json"
PREFIX = "prefix.onnx"


class SharedPredictor:
    """A shared folder, loaded. It may be used from many threads at once.

    `tasks` holds the manifest of each task, `classes` how many logits a text has for all tasks together.
    """

    def __init__(self, prefix: Engine, tasks: Mapping[str, tuple[Predictor, Engine]]) -> None:
        self._prefix = prefix
        self._tasks = dict(tasks)
        self.tasks = {name: task.manifest for name, (task, _) in tasks.items()}
        ends = np.cumsum([task.classes for task, _ in tasks.values()]).tolist()
        self.classes: int = ends[-1]
        self._columns = dict(zip(tasks, map(slice, [0, *ends[:-1]], ends), strict=True))

    @classmethod
    def load(cls, folder: Path, threads: int | None = None) -> SharedPredictor:
        """The models of a shared folder, checked against its shared.json; they compute with `threads` threads, or all that there are.

        Raises:
            InputError: no shared.json, a bad value in it, a file that is missing, changed or cannot be read, or other classes than labels.
        """
        path, threads = folder / NAME, threads or cores()
        tree = read_tree(path, FORMAT, TRUNCATING)
        if not listed(tree.get("files")) or not isinstance(tree.get("tasks"), dict) or not tree["tasks"]:
            raise InputError(f"{path} lacks its files or its tasks; export the models again")
        # The name of a task becomes the name of a file, and only a file with a hash is loaded.
        missing = {PREFIX, TOKENIZER, *map(suffix_of, tree["tasks"])} - tree["files"].keys()
        if missing or not all(isinstance(task, dict) for task in tree["tasks"].values()):
            raise InputError(
                f"{path} has no hash of {excerpt(min(missing, default='its tasks'))}; export the models again"
            )
        files = contents(folder, tree["files"], NAME)
        manifests = {name: Manifest.of(task, path) for name, task in tree["tasks"].items()}
        first = next(iter(manifests.values()))
        tokenizer = tokenizer_of(folder / TOKENIZER, files[TOKENIZER], first.max_length, first.truncation)
        prefix, tasks = engine_of(folder / PREFIX, first.variant, threads, IDS, STATES, files), {}
        states = prefix.run(np.array([[0]], dtype=np.int64))
        for name, manifest in manifests.items():
            suffix = engine_of(folder / suffix_of(name), manifest.variant, threads, STATES, LOGITS, files)
            classes, labels = suffix.run(states).shape[1], len(manifest.labels)
            if classes != labels:
                raise InputError(
                    f"{folder / suffix_of(name)} has {classes} classes, its task {labels} labels; export the models again"
                )
            tasks[name] = (Predictor(manifest, tokenizer, suffix), suffix)
        return cls(prefix, tasks)

    def predict_by_task(self, texts: Sequence[str], top: int = 3) -> dict[str, list[Prediction | LabelSet]]:
        """By task an answer a text, as `Predictor.predict` gives them."""
        encoded = self.encode(texts)
        return self.answers_by_task(self._logits(encoded), [text.truncated for text in encoded], top)

    def logits(self, texts: Sequence[str]) -> dict[str, Floats]:
        """By task the raw outputs, [texts, classes], in the order of the texts."""
        logits = self._logits(self.encode(texts))
        return {name: logits[:, columns] for name, columns in self._columns.items()}

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """The token ids of each text, as `Predictor.encode`: all tasks read the same."""
        return next(iter(self._tasks.values()))[0].encode(texts)

    def run(self, ids: Sequence[Sequence[int]] | Ids) -> Floats:
        """Logits [texts, classes], one task's after another's, of texts that all have the same number of tokens."""
        states = self._prefix.run(np.array(ids, dtype=np.int64))
        return np.concatenate([suffix.run(states) for _, suffix in self._tasks.values()], axis=1)

    def answers_by_task(
        self, logits: Floats, truncated: Sequence[bool], top: int
    ) -> dict[str, list[Prediction | LabelSet]]:
        """What `logits`, as `run` gives them, say of texts of which some were `truncated`. Raises InputError: `top` is less than 1."""
        return {
            name: task.answers(logits[:, self._columns[name]], truncated, top)
            for name, (task, _) in self._tasks.items()
        }

    def _logits(self, encoded: Sequence[Encoded]) -> Floats:
        return logits_of(self.run, [text.ids for text in encoded], self.classes)


def suffix_of(task: str) -> str:
    """The file name of a task's graph."""
    return f"{task}.onnx"


def save_manifest(folder: Path, tasks: Mapping[str, Manifest], layers: int) -> None:
    """Write `folder`'s shared.json with the hashes of its files as they stand now: the last step of an export."""
    files = {name: sha256(folder / name) for name in (PREFIX, TOKENIZER, *map(suffix_of, tasks))}
    version = FORMAT if all(task.truncation == HEAD for task in tasks.values()) else TRUNCATING
    write_tree(
        folder / NAME,
        {
            "format": version,
            "layers": layers,
            "files": files,
            "tasks": {k: v.tree() for k, v in tasks.items()},
        },
    )
