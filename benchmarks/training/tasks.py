"""Read the tasks of the benchmark, and draw a sample of a task, the same for all methods.

A task is a folder with train.csv and test.csv, or with CSV files that have a column `fold`. In the
second case, all files together are the task, and the last quarter of the folds is the test set. A
multi-label task has a column `labels` instead of `label`, with | between labels. The test set stays
whole; training texts that also occur in it are dropped.
"""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.training.strata import draw_parts
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
HELD_OUT = 2000  # maximum number of held-out texts


@dataclass(frozen=True)
class Sample:
    """The texts that a method is trained and tested on.

    `validation` is None for a few-shot sample, because its number of epochs is fixed.
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
    """Return the files of a task by part, or by name if they have folds.

    Raises:
        InputError: If there is no such folder, or a file is missing.
    """
    folder = data / task
    if not folder.is_dir():
        known = sorted(path.name for path in data.iterdir() if path.is_dir()) if data.is_dir() else []
        raise InputError(
            f"task {excerpt(task)}: {data} has no such folder; it has {', '.join(known) or 'none'}: name it "
            "with --data"
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
                f"task '{task}': {folder} has no {name}.csv; a task is a folder with train.csv and test.csv, "
                "or with CSV files that have a column 'fold'"
            )
    return {name: path for name, path in find_part_files(folder).items() if name != "oos"}


def data_hash(data: Path, task: str) -> str:
    """Return the shortened SHA-256 hashes of the task's files."""
    return " ".join(f"{name}:{sha256(path)[:16]}" for name, path in sorted(task_files(data, task).items()))


def is_multi_label(data: Path, task: str) -> bool:
    """Return whether the task is multi-label."""
    header = _header(next(iter(task_files(data, task).values())))
    return "labels" in header and "label" not in header


def draw(data: Path, task: str, shots: int | None, seed: int, held_out: bool = False) -> Sample:
    """Return a sample of `shots` texts per class, drawn with `seed`.

    If `shots` is None, it has all texts, and a tenth of them, or the validation file, is for early
    stopping. In a multi-label task, each label has at least `shots` texts. With `held_out`, the
    test set is not used. The test texts are then up to `HELD_OUT` training texts that were not
    drawn, or those for early stopping if all texts are drawn.

    Raises:
        InputError: If `shots` is less than 1, if `task_files` or a reader raises it, or if training
            lacks a label of the test set.
    """
    if shots is not None and shots < 1:
        raise InputError(f"{shots} texts per class are asked for; use a whole number from 1")
    parts = _parts(data, task)
    parted, _ = draw_parts(parts, Split(), seed, shots)
    labels = names.class_names(parted["train"].labels)
    test = (
        parted["test"]
        if not held_out
        else parted["validation"]
        if shots is None
        else _undrawn(parts, parted, seed)
    )
    if unknown := sorted(set(names.class_names(test.labels)) - set(labels)):
        raise InputError(
            f"task '{task}': label {excerpt(unknown[0])} of its test set does not occur in training; remove "
            "its rows"
        )
    train = parted["train"] if shots is None else _distinct(parted["train"])
    return Sample(train, None if shots else parted["validation"], test, labels)


def _parts(data: Path, task: str) -> dict[str, Examples]:
    """Return the examples of a task by part."""
    files = task_files(data, task)
    label, separator = ("labels", SEPARATOR) if is_multi_label(data, task) else ("label", None)
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


def _undrawn(parts: dict[str, Examples], parted: dict[str, Examples], seed: int) -> Examples:
    """Return a sample of the training texts that are neither in `parted` nor in the test set."""
    taken = {normalize_text(text) for name in ("train", "test") for text in parted[name].texts}
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
