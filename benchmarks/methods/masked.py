"""Masks on the model's own rows: tokensieve, and its rivals with the same budget.

The library trains all of them.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.training.method_api import Job, Outcome
from tokensieve.fitting import Fitted, fit_classifier
from tokensieve.method.mask import unit_count
from tokensieve.method.select import count_masked_parameters, first_trainable_layer
from tokensieve.model.encoder import encoder_linears
from tokensieve.settings import Settings
from tokensieve.training.epochs import batch_size


def tokensieve(job: Job) -> Outcome:
    """Score rows at the tokens of constructs."""
    return _masked(job, "construct_fisher")


def fish(job: Job) -> Outcome:
    """Score rows at all tokens (FISH mask, Sung et al. 2021)."""
    return _masked(job, "fisher")


def magnitude_mask(job: Job) -> Outcome:
    """Select the rows with the largest weights."""
    return _masked(job, "magnitude")


def random_mask(job: Job) -> Outcome:
    """Select rows at random."""
    return _masked(job, "random")


def _masked(job: Job, score: str) -> Outcome:
    settings = dataclasses.replace(
        job.settings,
        mask=dataclasses.replace(job.settings.mask, score=score),
        finetune=dataclasses.replace(job.settings.finetune, device=job.device),
    )
    sample = job.sample
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fitted = fit_classifier(
            sample.train, sample.validation, sample.labels, settings, job.folder, folder, job.clock.phase
        )
        head = sum(parameter.numel() for parameter in fitted.classifier.head.parameters())
        trained = count_masked_parameters(fitted.classifier, fitted.selection.mask) + head
        steps = math.ceil(len(sample.train) / batch_size(settings.finetune, len(sample.train)))
        predict = job.predictor(fitted.classifier, folder)
    return Outcome(predict, trained, fitted.history, len(fitted.history) * steps, _notes(fitted, settings))


def _notes(fitted: Fitted, settings: Settings) -> dict[str, Any]:
    """Return the choices of the method: layers, epochs, and the share of rows per module."""
    mask, full_depth = fitted.selection.mask, fitted.schedule.all_layers
    first = first_trainable_layer(fitted.classifier, settings.schedule)
    linears = encoder_linears(fitted.classifier.encoder, first)
    return {
        "first": first,
        "cut": fitted.schedule.top,
        "distant": fitted.selection.is_far,
        "open": [full_depth.start, full_depth.stop],
        "rows": sum(map(len, mask.indices.values())),
        "shares": {
            name: round(len(mask.indices.get(name, ())) / unit_count(linear.weight, mask.shape), 4)
            for name, linear in linears.items()
        },
        "constructs": len(fitted.constructs),
    }
