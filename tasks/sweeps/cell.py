"""A cell of a sweep: one training, of one combination of settings, one seed and one fold.

Its result is a file named after the hash of everything that decides it. So no cell is computed
twice: not after a kill, and not in another sweep.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tokensieve
from tasks.split import load_part
from tasks.sweeps.space import SECTIONS
from tasks.vocabulary import base_folder
from tokensieve.data.examples import Examples
from tokensieve.data.folds import assign_folds
from tokensieve.data.labels import class_names, encode_targets
from tokensieve.errors import InputError
from tokensieve.evaluation.decision_rule import fit_decision_rule
from tokensieve.evaluation.metrics import Float64s, Targets
from tokensieve.evaluation.report import report
from tokensieve.files import atomic_folder, read_json_or_none, sha256, write_json
from tokensieve.fitting import encode, fit_classifier
from tokensieve.model.encoder_check import check_base
from tokensieve.project import Layout
from tokensieve.settings import Settings
from tokensieve.training.loop import compute_logits, set_threads

USED = (*SECTIONS, "data", "evaluate")  # sections that a cell depends on
PARTS = ("train", "validation")  # the test texts are never used
# Figures of a fold, by their name in the evaluation report.
FIGURES = {
    "test_accuracy": "accuracy",
    "test_exact_match": "exact_match",
    "test_micro_f1": "micro_f1",
    "test_macro_f1": "macro_f1",
    "test_ece": "calibration_error",
    "coverage": "coverage",
    "accepted_accuracy": "accepted_accuracy",
}


@dataclass(frozen=True)
class Cell:
    """What decides the result of one training.

    Attributes:
        settings: The project's settings with the changes and the seed of this cell.
        fold: The fold that is left out, from 0.
        folds: The number of folds.
        data: The hash of the texts, as `copy_texts` returns it.
        base: The hash of the base model's weights.
    """

    settings: Settings
    fold: int
    folds: int
    data: str
    base: str

    @property
    def key(self) -> str:
        """The name of the cell's file, without the extension."""
        tree = asdict(self) | {"torch": torch.__version__, "tokensieve": tokensieve.__version__}
        tree["early stopping"] = "calibrated loss"  # earlier cells chose the epoch by another loss
        tree["settings"] = {section: tree["settings"][section] for section in USED}
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:32]


def copy_texts(layout: Layout) -> str:
    """Copy the parts that a sweep uses to a folder of its own, and return their hash.

    A sweep may take hours. In this time, another run may change the project's split.
    """
    layout.sweep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=layout.sweep) as name:
        paths = [Path(name) / f"{part}.jsonl" for part in PARTS]
        for part, path in zip(PARTS, paths, strict=True):
            load_part(layout, part).save(path)
        key = hashlib.sha256("".join(map(sha256, paths)).encode()).hexdigest()[:32]
        kept = _texts(layout, key)
        if not kept.exists():
            with atomic_folder(kept) as folder:
                for path in paths:
                    shutil.copyfile(path, folder / path.name)
    for old in kept.parent.iterdir():
        if old != kept:
            shutil.rmtree(old)
    return key


def run_cell(project: Path, cell: Cell) -> dict[str, Any]:
    """Train and measure a cell, and return the content of its file. A finished cell is only read.

    Raises:
        InputError: If the texts are not on this machine, or as `fit_classifier`.
    """
    layout = Layout(project)
    if (done := load_result(layout, cell)) is not None:
        return done
    start = time.perf_counter()
    settings, (train, validation) = cell.settings, _load_texts(layout, cell.data)
    # One thread unless the settings say otherwise: cells run in parallel, and the results must not
    # depend on how many do.
    set_threads(settings.finetune.threads or 1)
    folds = assign_folds(train.texts, train.labels, cell.folds, settings.data.seed)
    inside, held_out = (
        train.take(np.flatnonzero(chosen).tolist()) for chosen in (folds != cell.fold, folds == cell.fold)
    )
    labels, base = class_names(train.labels), base_folder(layout, settings)
    check_base(base, settings)
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit_classifier(inside, validation, labels, settings, base, Path(folder))

    def pair(part: Examples) -> tuple[Float64s, Targets]:
        inputs = encode(fitted.tokenizer, part.texts, fitted.classifier, settings)
        logits = compute_logits(fitted.classifier, inputs).double().numpy()
        return logits, encode_targets(part.labels, labels, train.multi_label).numpy()

    rule = fit_decision_rule(*pair(validation), np.empty((0, len(labels))), settings.evaluate).rule
    logits, targets = pair(held_out)
    figures = report({"test": logits}, targets, labels, rule)
    result = {
        "figures": {name: figures[key] for key, name in FIGURES.items() if figures.get(key) is not None},
        "texts": len(held_out),
        "epochs": len(fitted.history),
        "seconds": round(time.perf_counter() - start, 2),
    }
    _file(layout, cell).parent.mkdir(parents=True, exist_ok=True)
    write_json(_file(layout, cell), result)
    return result


def load_result(layout: Layout, cell: Cell) -> dict[str, Any] | None:
    """Return the content of a cell's file. None if the cell is not finished."""
    found: dict[str, Any] | None = read_json_or_none(_file(layout, cell))
    return found


def _file(layout: Layout, cell: Cell) -> Path:
    path: Path = layout.sweep / "cells" / f"{cell.key}.json"
    return path


def _texts(layout: Layout, key: str) -> Path:
    folder: Path = layout.sweep / "texts" / key
    return folder


def _load_texts(layout: Layout, key: str) -> list[Examples]:
    folder = _texts(layout, key)
    if not folder.exists():
        raise InputError(
            f"{folder} is not on this machine; every worker needs the project's folder at the same path, "
            "for example on a shared disk"
        )
    return [Examples.load(folder / f"{part}.jsonl") for part in PARTS]
