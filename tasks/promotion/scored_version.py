"""A registered version on the locked test: its answers, its latency and its size."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.promotion.locked_test import LockedTest
from tokensieve.data.examples import Examples
from tokensieve.evaluation import metrics
from tokensieve.evaluation.comparison import Answers, Pair
from tokensieve.evaluation.metrics import Bools, Float64s
from tokensieve.inference.decisions import Decisions, decide
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.predictor import Predictor
from tokensieve.inference.session import Floats

TIMED, ROUNDS = 40, 5  # texts and repetitions of the latency measurement
MEGABYTE = 1e6


@dataclass(frozen=True)
class ScoredVersion:
    """What a version answers on the locked test.

    Attributes:
        manifest: Of its exported folder.
        logits: Of the comparable test texts, float32 [texts, own labels].
        oos_logits: Of the texts out of scope, float32 [texts, own labels].
        megabytes: The size of the files that the manifest lists.
        milliseconds: Per text, one at a time on one thread.
    """

    manifest: Manifest
    logits: Floats
    oos_logits: Floats
    megabytes: float
    milliseconds: float

    @property
    def decisions(self) -> Decisions:
        """The decisions on the test texts."""
        return decide(self.logits, self.manifest.rule)

    @property
    def detected(self) -> Bools:
        """Which texts out of scope are uncertain (multi-label: get no label), bool [texts]."""
        found = decide(self.oos_logits, self.manifest.rule)
        return np.logical_not(found.labels.any(1) if self.manifest.thresholds else found.confident)

    def answers(self, labels: Sequence[str]) -> Answers:
        """Return its predictions for the test texts, encoded as in `comparison.Pair`."""
        places, found = [labels.index(label) for label in self.manifest.labels], self.decisions.labels
        if not self.manifest.thresholds:
            return np.array([places[label] for label in found[:, 0]], np.int64)
        given = np.zeros((len(found), len(labels)), bool)
        given[:, places] = found
        return given

    def gaps(self, test: Examples) -> Float64s:
        """Return the `metrics.gaps` of the test texts, float64 [texts, bins].

        For multi-label data, it is the mean over the labels.
        """
        targets = right_answers(test, self.manifest.labels)
        if not self.manifest.thresholds:
            return metrics.gaps(self.logits, np.asarray(targets, np.int64), self.manifest.temperature)
        gaps = metrics.gaps(self.logits, targets.astype(np.float64), self.manifest.temperature)
        return gaps / len(self.manifest.labels)


def comparable(test: Examples, manifests: Sequence[Manifest]) -> Examples:
    """Return the texts all of whose labels every version knows: only on them can both be right."""
    known = set.intersection(*(set(manifest.labels) for manifest in manifests))
    return test.take([place for place, labels in enumerate(test.labels) if known >= set(labels)])


def right_answers(test: Examples, labels: Sequence[str]) -> Answers:
    """Return the labels of the test texts as numbers in `labels`: as `comparison.Pair`."""
    places = {label: place for place, label in enumerate(labels)}
    if not test.multi_label:
        return np.array([places[own[0]] for own in test.labels], np.int64)
    targets = np.zeros((len(test), len(labels)), bool)
    for row, own in enumerate(test.labels):
        targets[row, [places[label] for label in own]] = True
    return targets


def pair_of(test: Examples, champion: ScoredVersion, challenger: ScoredVersion) -> tuple[Pair, list[str]]:
    """Return the answers of both on the test texts, and the names of their labels."""
    labels = sorted({*champion.manifest.labels, *challenger.manifest.labels})
    answers = [one.answers(labels) for one in (champion, challenger)]
    return Pair(right_answers(test, labels), *answers), labels


def score(folders: Sequence[Path], locked: LockedTest, threads: int) -> tuple[Examples, list[ScoredVersion]]:
    """Return the comparable test texts, and each version on them.

    Latencies are measured alternately, so that other load on the machine meets all versions.

    Args:
        folders: The exported folders of the versions.
        locked: The texts.
        threads: Threads that compute the answers.

    Raises:
        InputError: If a folder cannot be loaded.
    """
    predictors = [Predictor.load(folder, threads) for folder in folders]
    test = comparable(locked.test, [predictor.manifest for predictor in predictors])
    milliseconds = latencies([Predictor.load(folder, 1) for folder in folders], test.texts[:TIMED])
    return test, [
        ScoredVersion(
            predictor.manifest,
            predictor.logits(test.texts),
            predictor.logits(locked.oos.texts),
            sum((folder / name).stat().st_size for name in predictor.manifest.files) / MEGABYTE,
            own,
        )
        for folder, predictor, own in zip(folders, predictors, milliseconds, strict=True)
    ]


def latencies(predictors: Sequence[Predictor], texts: Sequence[str]) -> list[float]:
    """Return the milliseconds per text of each model.

    It is the mean over the texts, each with the fastest of `ROUNDS` runs.
    """
    taken = np.empty((ROUNDS, len(predictors), len(texts)))
    for repetition in range(ROUNDS):
        for place, text in enumerate(texts):
            for model, predictor in enumerate(predictors):
                start = time.perf_counter()
                predictor.predict([text])
                taken[repetition, model, place] = time.perf_counter() - start
    fastest = taken.min(0).mean(1) * 1000 if len(texts) else np.zeros(len(predictors))
    return [float(value) for value in fastest]
