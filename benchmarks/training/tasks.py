"""The tasks of the benchmark, and the one sample of a task that every method of a cell gets.

A task is a folder with train.csv and test.csv, or with files whose rows tell their fold: all of them are one task then, of which
the last quarter of the folds is the test set. A column `labels` in place of `label` holds any number of labels, with | between.
The test set stays whole; training texts that also stand in it are dropped.
"""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.training.strata import deal
from tokensieve.data import labels as names
from tokensieve.data.examples import Examples
from tokensieve.data.normalize import normalize_text
from tokensieve.data.raw_data import find_part_files, read_examples
from tokensieve.errors import InputError, excerpt
from tokensieve.files import sha256
from tokensieve.settings import Split

if TYPE_CHECKING:
    from torch import Tensor

SEPARATOR = "|"
HELD_OUT = 2000  # texts at most


@dataclass(frozen=True)
class Sample:
    """What a method trains on, and the texts it is judged by. `validation` is None in few-shot: epochs are fixed there.

    If `multi_label`, a text has any number of labels.
    """

    train: Examples
    validation: Examples | None
    test: Examples
    labels: list[str]

    @property
    def multi_label(self) -> bool:
        return self.train.multi_label

    def targets(self, part: Examples) -> Tensor:
        """Return the labels of a part as `encode_targets` does."""
        return names.encode_targets(part.labels, self.labels, self.multi_label)


def task_files(data: Path, task: str) -> dict[str, Path]:
    """The files of a task: by part (train, test and, where given, validation), or those with folds by name.

    Raises:
        InputError: no such folder, or a file missing.
    """
    folder = data / task
    if not folder.is_dir():
        known = sorted(path.name for path in data.iterdir() if path.is_dir()) if data.is_dir() else []
        raise InputError(
            f"task {excerpt(task)}: {data} has no such folder; it has {', '.join(known) or 'none'}: name it with --data"
        )
    found = {path.stem: path for path in sorted(folder.glob("*.csv"))}
    if (
        found
        and not {"train", "test"} & found.keys()
        and all("fold" in _header(path) for path in found.values())
    ):
        return found
    for name in ("train", "test"):
        if name not in found:
            raise InputError(
                f"task '{task}': {folder} holds no {name}.csv; a task is a folder with train.csv and test.csv, "
                "or with CSV files that have a column 'fold'"
            )
    return {name: path for name, path in find_part_files(folder).items() if name != "oos"}


def data_hash(data: Path, task: str) -> str:
    """Return the shortened SHA-256 hashes of the task's files."""
    return " ".join(f"{name}:{sha256(path)[:16]}" for name, path in sorted(task_files(data, task).items()))


def several(data: Path, task: str) -> bool:
    """Return whether the task is multi-label."""
    header = _header(next(iter(task_files(data, task).values())))
    return "labels" in header and "label" not in header


def draw(data: Path, task: str, shots: int | None, seed: int, held_out: bool = False) -> Sample:
    """`shots` texts a class drawn with `seed`; None: all, of which a tenth (or the given file) is for early stopping.

    Where texts have several labels, `shots` is the least of each. With `held_out`, the test set is not touched: judged by are up to
    `HELD_OUT` training texts that were not drawn, or with all texts those for early stopping.

    Raises:
        InputError: what `task_files` and reading raise, or a test label that training lacks.
    """
    parts = _parts(data, task)
    dealt, _ = deal(parts, Split(), seed, shots)
    labels = names.class_names(dealt["train"].labels)
    judged = (
        dealt["test"]
        if not held_out
        else dealt["validation"]
        if shots is None
        else _undrawn(parts, dealt, seed)
    )
    if unknown := sorted(set(names.class_names(judged.labels)) - set(labels)):
        raise InputError(
            f"task '{task}': label {excerpt(unknown[0])} of its test set does not occur in training; remove its rows"
        )
    train = dealt["train"] if shots is None else _distinct(dealt["train"])
    return Sample(train, None if shots else dealt["validation"], judged, labels)


def _parts(data: Path, task: str) -> dict[str, Examples]:
    """Return the examples of a task by part."""
    files = task_files(data, task)
    label, separator = ("labels", SEPARATOR) if several(data, task) else ("label", None)
    read = {name: read_examples(path, label=label, separator=separator) for name, path in files.items()}
    return read if "train" in files else _by_fold(task, files, read)


def _by_fold(task: str, files: dict[str, Path], read: dict[str, Examples]) -> dict[str, Examples]:
    texts, labels, rows = (
        [item for part in read.values() for item in getattr(part, name)]
        for name in ("texts", "labels", "rows")
    )
    folds = [fold for path in files.values() for fold in read_examples(path, "fold", None).texts]
    order = sorted(set(folds), key=lambda fold: (len(fold), fold))
    if len(order) < 2:
        raise InputError(
            f"task '{task}': its files have one fold, {excerpt(order[0])}; a test set needs a second one"
        )
    tested = set(order[-max(1, len(order) // 4) :])
    places = {
        name: [i for i, fold in enumerate(folds) if (fold in tested) == (name == "test")]
        for name in ("train", "test")
    }
    multi_label = any(part.multi_label for part in read.values())
    return {
        name: Examples(texts, labels, rows, multi_label).take(indices) for name, indices in places.items()
    }


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next(csv.reader(file), [])


def _undrawn(parts: dict[str, Examples], dealt: dict[str, Examples], seed: int) -> Examples:
    """Return texts of the training file that are neither in the sample nor in the test set, sampled with `seed`."""
    taken = {normalize_text(text) for name in ("train", "test") for text in dealt[name].texts}
    left = _distinct(
        parts["train"].take(
            [i for i, text in enumerate(parts["train"].texts) if normalize_text(text) not in taken]
        )
    )
    return left.take(sorted(random.Random(seed).sample(range(len(left)), min(HELD_OUT, len(left)))))


def _distinct(examples: Examples) -> Examples:
    """Return each text once, so that a repeated text counts as one shot."""
    first = {normalize_text(text): i for i, text in reversed(list(enumerate(examples.texts)))}
    return examples.take(sorted(first.values()))
