"""Logits of the training texts from models that were not trained on them: more texts to calibrate on if validation is small.

The head alone would be cheap to fit again, but the encoder has been trained on these texts too: such logits are far too sure
(`python -m benchmarks.training.calibration`). So the masked weights are trained anew for each fold, with the same mask and settings.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from tasks.mask import new_classifier
from tasks.split import load_part
from tokensieve.data.examples import Examples
from tokensieve.data.labels import encode_targets
from tokensieve.files import read_json
from tokensieve.method.mask import Mask
from tokensieve.method.select import all_layer_epochs, first_top_layer, first_trainable_layer
from tokensieve.model.batches import Inputs, tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import load_tokenizer
from tokensieve.project import Layout
from tokensieve.settings import Settings
from tokensieve.training.loop import Freezing, compute_logits, count_epochs, train_masked

log = logging.getLogger("tokensieve")

SMALL = 100  # validation texts below which the training texts are needed: the threshold is then set by fewer than five of them


def is_needed(layout: Layout, settings: Settings) -> bool:
    """Return whether validation is small, and there are training texts enough to leave some out."""
    report = read_json(layout.split / "report.json")
    return (
        settings.evaluate.calibration_folds > 0
        and report["validation"] < SMALL
        and report["train"] >= 4 * settings.evaluate.calibration_folds
    )


def out_of_fold(layout: Layout, settings: Settings, checked: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits [texts, classes] and targets of the training texts. Each text is left out of the model that judges it.

    Models that stop after more or fewer epochs are more or less sure of everything. So each one's logits are scaled as if it were as
    sure of the validation texts as the model itself, whose logits for these are `checked`.
    """
    part, validation = load_part(layout, "train"), load_part(layout, "validation")
    folds = assign_folds(part.labels, settings.evaluate.calibration_folds, settings.data.seed)
    log.info(
        "  %d validation texts: calibrating on the training texts too, with %d models",
        len(validation),
        settings.evaluate.calibration_folds,
    )
    logits = torch.zeros(len(part), checked.shape[1])
    for fold in tqdm(
        range(settings.evaluate.calibration_folds),
        desc="cross-fitting",
        unit="model",
        leave=False,
        disable=None,
    ):
        held = np.flatnonzero(folds == fold).tolist()
        with _without_epochs():
            classifier = _trained(
                layout, settings, part.take(np.flatnonzero(folds != fold).tolist()), validation
            )
        found, theirs = (
            compute_logits(classifier, _inputs(layout, settings, texts, classifier))
            for texts in (part.take(held), validation)
        )
        logits[held] = found * (_spread(checked) / _spread(theirs))
    return logits, encode_targets(
        part.labels, read_json(layout.split / "labels.json"), settings.data.label_separator
    )


def _spread(logits: Tensor) -> float:
    """Return how far logits lie apart, on average over the texts: the largest less the mean."""
    return float((logits.max(1).values - logits.mean(1)).mean().clamp(min=1e-6))


def assign_folds(labels: list[str], folds: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the fold of each text, spreading each class evenly."""
    random = np.random.default_rng(seed)
    order = sorted(random.permutation(len(labels)).tolist(), key=lambda place: labels[place])
    found = np.empty(len(labels), dtype=np.int64)
    found[order] = np.arange(len(labels)) % folds
    return found


@contextmanager
def _without_epochs() -> Iterator[None]:
    """Keep the lines about each epoch out of the log: they would read like a second training of the model."""
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


def _trained(layout: Layout, settings: Settings, part: Examples, validation: Examples) -> Classifier:
    """Train a classifier as the stage finetune does, without a checkpoint and in this process."""
    classifier = new_classifier(layout, settings)
    first = first_trainable_layer(classifier, settings.schedule)
    training, checking = (
        (
            _inputs(layout, settings, examples, classifier).freeze(classifier, first),
            encode_targets(examples.labels, classifier.labels, settings.data.label_separator),
        )
        for examples in (part, validation)
    )
    throughout = (
        read_json(layout.mask / "report.json")["distant"] or settings.data.label_separator is not None
    )
    opened = all_layer_epochs(settings.schedule, count_epochs(settings.finetune, len(part)), throughout)
    freezing = Freezing(first_top_layer(classifier, settings.schedule), opened)
    mask = Mask.load(layout.mask / "mask.safetensors")
    train_masked(classifier, mask, training, checking, settings.finetune, settings.data.seed, freezing)
    return classifier


def _inputs(layout: Layout, settings: Settings, part: Examples, classifier: Classifier) -> Inputs:
    tokenizer = load_tokenizer(layout.vocabulary / "tokenizer")
    ids = tokenize(tokenizer, part.texts, settings.base.max_length, settings.base.truncation)
    return Inputs(ids, next(classifier.parameters()).device)
