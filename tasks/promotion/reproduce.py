"""Train a registered version again in a new folder, and compare the result with it."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tasks.artifacts import write_if_changed
from tasks.projects.project import open_project
from tasks.promotion.answering_version import model_folder
from tasks.promotion.lineage import Lineage, lineage
from tasks.promotion.registry_lookups import existing_version, open_registry
from tasks.split import load_part
from tasks.stage import AUDIT, REGISTER, STAGES, run_if_stale, run_ingest
from tasks.tracking import provenance
from tasks.tracking.registered_files import copy_run_file
from tasks.versioning.data_versions import pull_version
from tasks.versioning.dvc_repo import opened
from tokensieve.errors import InputError
from tokensieve.files import sha256, write_text
from tokensieve.inference.manifest import Manifest
from tokensieve.project import Layout
from tokensieve.settings import Settings, render

MASK = "mask/mask.safetensors"  # file of a run
BASE = "data/base.json"

log = logging.getLogger("tokensieve")


@dataclass(frozen=True)
class ComparedFile:
    """A file of the version and of its reproduction, by SHA-256. Empty: there is none."""

    name: str
    original: str
    reproduced: str

    @property
    def is_same(self) -> bool:
        """Whether both exist and are identical."""
        return bool(self.original) and self.original == self.reproduced


@dataclass(frozen=True)
class Agreement:
    """How far the answers of two models agree.

    Attributes:
        texts: The test texts that both were asked.
        same_labels: The share of the texts with the same labels.
        largest_difference: The largest difference of two logits.
    """

    texts: int
    same_labels: float
    largest_difference: float


@dataclass(frozen=True)
class Reproduction:
    """A version that was trained again.

    Attributes:
        model: The name of the registered model.
        version: Its number.
        folder: The new project.
        files: Mask, exported graph and tokenizer of both.
        packages: What differs from the first time: name, then, now.
        agreement: None: the files are identical, or the labels differ.
    """

    model: str
    version: str
    folder: str
    files: tuple[ComparedFile, ...]
    packages: tuple[tuple[str, str, str], ...]
    agreement: Agreement | None

    @property
    def is_identical(self) -> bool:
        """Whether mask, graph and tokenizer are identical. The graph contains all weights."""
        return all(file.is_same for file in self.files)


def reproduce(layout: Layout, settings: Settings, wanted: str, into: Path) -> Reproduction:
    """Train a version again in the new folder `into`, with its data and settings.

    Args:
        layout: The project that registered it. Its DVC cache or remote has the data.
        settings: The project's present settings. They name the registry.
        wanted: The version, as `lineage.lineage` reads it.
        into: A folder that does not exist, or is empty. It becomes a project.

    Raises:
        InputError: If there is no such version, its run has no dvc.lock, its data are gone, or
            `into` is not empty. Also as a stage raises it.
    """
    if into.exists() and any(into.iterdir()):
        raise InputError(f"{into} is not empty; name a new folder with --into DIR")
    found = lineage(layout, settings, wanted)
    name, number = found.version.model, found.version.version
    store = open_registry(layout, settings)
    version = existing_version(store, name, number)
    with tempfile.TemporaryDirectory() as folder:
        lock, mask = Path(folder) / "dvc.lock", Path(folder) / "mask.safetensors"
        if not copy_run_file(store, version, lock.name, lock):
            raise InputError(
                f"the run of version {number} of model '{name}' has no dvc.lock; it cannot be repeated"
            )
        original = model_folder(layout, store, name, number, version)
        manifest = Manifest.load(original)
        stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"]
        new = _train(layout, _settings_of(layout, stages, manifest), found, into)
        hashes = {MASK: sha256(mask) if copy_run_file(store, version, MASK, mask) else ""}
    _warn_of_base(layout, stages)
    hashes |= dict(manifest.files)
    files = tuple(ComparedFile(file, known, _hash_of(new, file)) for file, known in hashes.items())
    same = all(file.is_same for file in files)
    return Reproduction(
        name,
        number,
        str(new.root),
        files,
        tuple(_other_packages(found, new)),
        None if same else _agreement(original, new),
    )


def _settings_of(layout: Layout, stages: dict[str, Any], manifest: Manifest) -> Settings:
    """Return the settings that the dvc.lock of a run has for all stages before the last.

    The run kept it in its last stage, so what it has on that one is from an earlier run. Only the
    build that was chosen is exported: the choice depends on the time that each takes.
    """
    tree: dict[str, dict[str, Any]] = {}
    for stage in (stages[known] for known in STAGES if known != REGISTER and known in stages):
        for name, value in stage.get("params", {}).get("params.yaml", {}).items():
            section, _, key = name.partition(".")
            tree.setdefault(section, {}).update({key: value} if key else value)
    tree.pop("register", None)
    tree.setdefault("export", {})["variants"] = [manifest.variant]
    # Paths in the settings start at the project.
    for section, key in (("base", "model"), ("validate", "suite")):
        value = tree.get(section, {}).get(key)
        if value and (layout.root / value).exists():
            tree[section][key] = str(layout.root / value)
    return Settings.of(tree, "dvc.lock of the version")


def _train(layout: Layout, settings: Settings, found: Lineage, into: Path) -> Layout:
    """Return the new project in `into` after the stages that make the model."""
    new = open_project(into)
    write_text(new.params, render(settings))
    new.champion.parent.mkdir(exist_ok=True)
    write_if_changed(new.champion, {})
    with tempfile.TemporaryDirectory(dir=layout.raw.parent, prefix=".reproduce-") as folder:
        with opened(layout) as repo:
            pull_version(layout, repo, found.version.data_hash, Path(folder))
        run_ingest(new, settings, folder)
    for stage in STAGES:
        if stage not in (AUDIT, REGISTER):
            run_if_stale(new, stage)
    return new


def _warn_of_base(layout: Layout, stages: dict[str, Any]) -> None:
    """Log that the project's base model has other weights than when the version was trained."""
    then = {dep["path"]: dep.get("md5") for stage in stages.values() for dep in stage.get("deps", [])}
    if layout.base.exists() and then.get(BASE):
        now = hashlib.md5(layout.base.read_bytes(), usedforsecurity=False).hexdigest()
        if now != then[BASE]:
            log.warning("the base model differs from the one that the version was trained from")


def _hash_of(new: Layout, file: str) -> str:
    """Return the SHA-256 of a compared file in the new project. Empty if it does not exist."""
    path = new.mask / "mask.safetensors" if file == MASK else new.onnx / file
    return sha256(path) if path.exists() else ""


def _other_packages(found: Lineage, new: Layout) -> Iterator[tuple[str, str, str]]:
    now = {key.removeprefix("environment."): value for key, value in provenance.trained_with(new).items()}
    for name, value in found.packages.items():
        if name in now and now[name] != value:
            yield name, value, now[name]


def _agreement(original: Path, new: Layout) -> Agreement | None:
    """Return how far both models agree on the test texts of the new project."""
    from tokensieve.inference.predictor import Predictor

    texts = list(load_part(new, "test").texts)
    predictors = [Predictor.load(folder) for folder in (original, new.onnx)]
    if predictors[0].manifest.labels != predictors[1].manifest.labels or not texts:
        return None
    logits = [predictor.logits(texts) for predictor in predictors]
    answers = [
        [{label for label, _ in prediction.labels} for prediction in predictor.predict(texts)]
        for predictor in predictors
    ]
    same = np.mean([first == second for first, second in zip(*answers, strict=True)])
    return Agreement(len(texts), float(same), float(np.abs(logits[0] - logits[1]).max()))
