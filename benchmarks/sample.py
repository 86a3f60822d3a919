"""The tasks of the benchmark, and the one sample of a task that every method of a cell gets.

A task is a folder with train.csv and test.csv, columns text and label. The test set stays whole; training texts that also stand
in it are dropped. Not here: several labels a text.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from tokensieve.dataset import Examples, part_files, read_examples
from tokensieve.errors import InputError, excerpt
from tokensieve.manifest import sha256
from tokensieve.quality import folded
from tokensieve.settings import Split
from tokensieve.splits import deal


@dataclass(frozen=True)
class Sample:
    """What a method trains on, and the texts it is judged by. `validation` is None in few-shot: epochs are fixed there."""

    train: Examples
    validation: Examples | None
    test: Examples
    labels: list[str]

    def targets(self, part: Examples) -> list[int]:
        """The part's labels as places in `labels`."""
        place = {label: i for i, label in enumerate(self.labels)}
        return [place[label] for label in part.labels]


def task_files(data: Path, task: str) -> dict[str, Path]:
    """The files of a task by part: train, test and, where given, validation.

    Raises:
        InputError: no such folder, a file missing, or a task with several labels a text.
    """
    folder = data / task
    if not folder.is_dir():
        known = sorted(path.name for path in data.iterdir() if path.is_dir()) if data.is_dir() else []
        raise InputError(f"task {excerpt(task)}: {data} has no such folder; it has {', '.join(known) or 'none'}: name it with --data")
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
        if "labels" in header and "label" not in header:
            raise InputError(f"task '{task}': {path.name} has a column 'labels'; tasks with several labels a text are not measured")
    for name in ("train.csv", "test.csv"):
        if not (folder / name).exists():
            raise InputError(f"task '{task}': {folder} holds no {name}; a task is a folder with train.csv and test.csv")
    return {name: path for name, path in part_files(folder).items() if name != "oos"}


def data_hash(data: Path, task: str) -> str:
    """SHA-256s of the task's files, shortened: what a cell's result belongs to."""
    return " ".join(f"{name}:{sha256(path)[:16]}" for name, path in sorted(task_files(data, task).items()))


def draw(data: Path, task: str, shots: int | None, seed: int, held_out: bool = False) -> Sample:
    """`shots` texts a class drawn with `seed`; None: all, of which a tenth (or the given file) is for early stopping.

    With `held_out`, the test set is not touched: judged by are training texts that were not drawn.

    Raises:
        InputError: what `task_files` and reading raise, or a test label that training lacks.
    """
    parts = {name: read_examples(path) for name, path in task_files(data, task).items()}
    dealt, _ = deal(parts, Split(), seed, shots)
    labels = sorted(set(dealt["train"].labels))
    judged = dealt["validation"] if held_out else dealt["test"]
    if unknown := sorted(set(judged.labels) - set(labels)):
        raise InputError(f"task '{task}': label {excerpt(unknown[0])} of its test set does not occur in training; remove its rows")
    train = dealt["train"] if shots is None else _distinct(dealt["train"])
    return Sample(train, None if shots else dealt["validation"], judged, labels)


def _distinct(examples: Examples) -> Examples:
    """Each text once: a shot is not spent, nor given on top, for a text that the data repeats."""
    first = {folded(text): i for i, text in reversed(list(enumerate(examples.texts)))}
    return examples.take(sorted(first.values()))
