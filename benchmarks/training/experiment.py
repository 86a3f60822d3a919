"""A cell of the benchmark, one method on one sample of a task: its settings, its hash and its file.

No heavy package is imported.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.methods import METHODS, method_of
from benchmarks.training import results
from benchmarks.training.learning_rates import RATES, Rates
from benchmarks.training.tasks import HELD_OUT, data_hash, is_multi_label
from tokensieve.errors import InputError, excerpt
from tokensieve.settings import Settings

FORMAT = 1
# How the epoch is chosen if all texts are drawn, and some of them are for validation. So cells of
# an earlier rule are known as such.
EARLY_STOPPING = "calibrated loss"


@dataclass(frozen=True)
class Setup:
    """The folder of the tasks, and how cells are computed.

    `base` is a folder or a Hugging Face model id.
    """

    data: Path
    base: str
    threads: int = 1
    device: str = "cpu"


@dataclass(frozen=True)
class Cell:
    """One training of a method on a sample of a task.

    Attributes:
        task: The name of the task.
        shots: The number of texts per class; None for all.
        seed: The seed of the sample and of the training.
        method: The name of the method, perhaps with settings (`tokensieve@0.02`).
        rates: The learning rates, for a point of a grid search.
        held_out: Whether to test on training texts that are not in the sample, instead of the test
            set.
    """

    task: str
    shots: int | None
    seed: int
    method: str
    rates: Rates | None = None
    held_out: bool = False

    @property
    def size(self) -> str:
        """The number of shots, in the form used in names of files and in tables."""
        return "full" if self.shots is None else str(self.shots)

    @property
    def name(self) -> str:
        """The name of the cell in a file of results."""
        grid = f"-{self.rates.body:g}-{self.rates.head:g}" if self.rates else ""
        return f"{self.task}/{self.size}-{self.method}-{self.seed}{grid}"

    def file(self, setup: Setup, output: Path) -> Path:
        """Return the file that stores the cell's result."""
        return output / f"{self.size}-{setup.device}.jsonl"

    def __str__(self) -> str:
        grid = f" at {self.rates.body:g} and {self.rates.head:g}" if self.rates else ""
        return (
            f"{self.task} {self.size} seed {self.seed} "
            f"{self.method}{grid}{', held out' if self.held_out else ''}"
        )


def settings_of(cell: Cell, setup: Setup) -> Settings:
    """Return the settings of a cell.

    They are the library's defaults, with the learning rates of the method, the settings in its
    name, the cell's seed and the threads of the setup.

    Raises:
        InputError: If a value is not allowed.
    """
    method, changes = method_of(cell.method)
    plain = Settings()
    finetune = replace(plain.finetune, threads=setup.threads)
    if rates := cell.rates or RATES.get(method):
        multilabel = rates.head if cell.rates else rates.multilabel
        finetune = replace(
            finetune,
            learning_rate=rates.body,
            head_learning_rate=rates.head,
            multilabel_head_learning_rate=multilabel,
        )
    base, data = replace(plain.base, model=setup.base), replace(plain.data, shots=cell.shots, seed=cell.seed)
    tree = asdict(replace(plain, base=base, data=data, finetune=finetune))
    for key, value in changes.items():
        section, name = key.split(".")
        try:
            tree[section][name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"method {excerpt(cell.method)}: {key} is {excerpt(value)}, not YAML") from None
    return type(plain).of(tree, f"method {excerpt(cell.method)}")


def facts_of(cell: Cell, setup: Setup) -> dict[str, Any]:
    """Return everything that determines the cell's result, as a JSON object.

    This is the method, the sample, the settings that the method reads, and the device.
    """
    method = METHODS[method_of(cell.method)[0]]
    tree = asdict(settings_of(cell, setup))
    # Of a folder only the last part of the path is kept: results contain no paths of a machine.
    tree["base"]["model"] = Path(setup.base).resolve().name if Path(setup.base).is_dir() else setup.base
    unread = (
        "finetune.head_learning_rate"
        if is_multi_label(setup.data, cell.task)
        else "finetune.multilabel_head_learning_rate"
    )
    read = {
        key: tree[key.split(".")[0]] if "." not in key else tree[key.split(".")[0]][key.split(".")[1]]
        for key in method.reads
        if key != unread
    }
    facts = {
        "format": FORMAT,
        "task": cell.task,
        "shots": cell.shots,
        "seed": cell.seed,
        "method": cell.method,
    }
    if cell.shots is None and "finetune.patience" in method.reads:
        read["early stopping"] = EARLY_STOPPING
    facts |= {
        "data": data_hash(setup.data, cell.task),
        "settings": read | method.options,
        "held_out": cell.held_out and HELD_OUT,
    }
    # Converted to JSON and back, so that it equals what is read from a file: tuples become lists.
    tree = json.loads(json.dumps(facts | {"threads": setup.threads, "device": setup.device}))
    return dict(tree)


def key_of(facts: dict[str, Any]) -> str:
    """Return the hash that identifies a finished cell."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def score(record: dict[str, Any]) -> float:
    """Return the score for comparing methods: accuracy, or micro F1 for multi-label tasks."""
    return float(record.get("score", record["accuracy"]))


def score_name(record: dict[str, Any]) -> str:
    """Return the name of the score of a record."""
    return "micro F1" if "micro_f1" in record else "accuracy"


def finished(cell: Cell, setup: Setup, output: Path) -> dict[str, Any] | None:
    """Return the cell's result, if it exists and has the same settings."""
    record = results.read(cell.file(setup, output)).get(cell.name, {})
    return record if record.get("key") == key_of(facts_of(cell, setup)) else None
