"""Cross-fitting: logits of the training texts from models that were not trained on them.

They are more data for the calibration. Refitting only the head would be cheap, but the encoder was
trained on these texts too. Such logits are far too confident (`python -m
benchmarks.studies.calibration`). So each fold trains the masked weights again, with the same mask
and settings.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from tasks.artifacts import MaskFacts, SplitSizes, load_class_names
from tasks.mask import untrained_classifier
from tasks.split import load_part
from tokensieve.bars import Bar
from tokensieve.data.examples import Examples
from tokensieve.data.folds import assign_folds
from tokensieve.data.labels import encode_targets
from tokensieve.fitting import encode, plan
from tokensieve.method.mask import Mask
from tokensieve.method.select import first_trainable_layer
from tokensieve.model.batches import Inputs
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import load_tokenizer
from tokensieve.model.state_cache import cache_states
from tokensieve.progress import hidden_lines
from tokensieve.project import Layout
from tokensieve.settings import Settings
from tokensieve.training.loop import compute_logits, train_masked

log = logging.getLogger("tokensieve")

# With fewer validation texts, fewer than five of them would determine the threshold.
ENOUGH_VALIDATION_TEXTS = 100


def is_needed(layout: Layout, settings: Settings) -> bool:
    """Return whether validation is small, and there are enough training texts to leave some out."""
    sizes = SplitSizes.load(layout.split)
    folds = settings.evaluate.calibration_folds
    return folds > 0 and sizes.validation < ENOUGH_VALIDATION_TEXTS and sizes.train >= 4 * folds


def out_of_fold(layout: Layout, settings: Settings, validation_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return cross-fitted logits [texts, classes] and targets of the training texts.

    The logits of each text are from a model that was not trained on it. Models that stop after more
    or fewer epochs are more or less confident in general. So the logits of each model are scaled to
    the spread that `validation_logits`, those of the final model, have on the validation texts.
    """
    train, validation = load_part(layout, "train"), load_part(layout, "validation")
    count = settings.evaluate.calibration_folds
    folds = assign_folds(train.texts, train.labels, count, settings.data.seed)
    log.info(
        "  %d validation texts: calibrating on the training texts too. This trains %d models, each in about "
        "the time of finetune (evaluate.calibration_folds; 0: none)",
        len(validation),
        count,
    )
    logits = torch.zeros(len(train), validation_logits.shape[1])
    for fold in Bar(range(count), "cross-fitting", "model"):
        held_out, others = (np.flatnonzero(chosen).tolist() for chosen in (folds == fold, folds != fold))
        with hidden_lines():  # those of each epoch would look like a second training of the model
            classifier = _train_fold(layout, settings, train.take(others), validation)
        fold_logits, fold_validation = (
            compute_logits(classifier, _inputs(layout, settings, texts, classifier))
            for texts in (train.take(held_out), validation)
        )
        logits[held_out] = fold_logits * (_spread(validation_logits) / _spread(fold_validation))
    class_names = load_class_names(layout.split)
    return logits, encode_targets(train.labels, class_names, train.multi_label)


def _spread(logits: Tensor) -> float:
    """Return the largest logit minus the mean of the logits, averaged over the texts."""
    return float((logits.max(1).values - logits.mean(1)).mean().clamp(min=1e-6))


def _train_fold(layout: Layout, settings: Settings, part: Examples, validation: Examples) -> Classifier:
    """Return a classifier trained on `part` as in the stage finetune, with the same mask."""
    classifier = untrained_classifier(layout, settings)
    first = first_trainable_layer(classifier, settings.schedule)
    training, validating = (
        (
            cache_states(_inputs(layout, settings, examples, classifier), classifier, first),
            encode_targets(examples.labels, classifier.labels, part.multi_label),
        )
        for examples in (part, validation)
    )
    mask = Mask.load(layout.mask / "mask.safetensors")
    schedule = plan(classifier, training, MaskFacts.load(layout.mask).is_far, settings)
    train_masked(classifier, mask, training, validating, settings.finetune, settings.data.seed, schedule)
    return classifier


def _inputs(layout: Layout, settings: Settings, part: Examples, classifier: Classifier) -> Inputs:
    return encode(load_tokenizer(layout.vocabulary / "tokenizer"), part.texts, classifier, settings)
