"""Methods that train whole parameters of the model: all of them, some layers, or the biases."""

from __future__ import annotations

import math
import random
from typing import Any

from benchmarks.training.method_api import Job, Outcome
from tokensieve.method import fisher
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_layers, encoder_linears
from tokensieve.training.epochs import batch_size
from tokensieve.training.loop import train_parameters


def end_to_end(job: Job) -> Outcome:
    """Train every parameter."""
    return trained(job, job.classifier())


def last_k(job: Job) -> Outcome:
    """Train the top layers (`schedule.top_layers_from`) as a whole. The states below them are
    cached.
    """
    classifier = job.classifier()
    layers = encoder_layers(classifier.encoder)
    cut = _cut(job, classifier)
    return _layers(job, classifier, list(range(cut, len(layers))))


def best_k(job: Job) -> Outcome:
    """Train as many layers as `last_k`, those with the highest Fisher scores.

    The states below the lowest one are cached.
    """
    classifier = job.classifier()
    layers = len(encoder_layers(classifier.encoder))
    classifier.encoder.requires_grad_(False)
    inputs, targets = job.pair(job.sample.train, classifier)
    sample = sorted(
        random.Random(job.seed).sample(range(len(inputs)), min(job.settings.mask.examples, len(inputs)))
    )
    with job.clock.phase("score"):
        found = fisher.fisher_scores(classifier, inputs, targets, texts=sample)
        sums = [
            sum(float(found[name].sum()) for name in _linears(classifier, layer)) for layer in range(layers)
        ]
    best = sorted(range(layers), key=lambda layer: -sums[layer])[: layers - _cut(job, classifier)]
    outcome = _layers(job, classifier, sorted(best))
    outcome.notes["scores"] = sums
    return outcome


def bitfit(job: Job) -> Outcome:
    """Train all biases of the encoder (Ben Zaken et al. 2022)."""
    classifier = job.classifier()
    for name, parameter in classifier.encoder.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    return trained(job, classifier)


def trained(job: Job, classifier: Classifier, cut: int = 0, notes: dict[str, Any] | None = None) -> Outcome:
    """Train the parameters that require a gradient. The states below layer `cut` are cached."""
    settings = job.settings.finetune
    parameters = {
        name: parameter for name, parameter in classifier.named_parameters() if parameter.requires_grad
    }
    count = sum(parameter.numel() for parameter in parameters.values())
    training = job.pair(job.sample.train, classifier, cut)
    validation = job.pair(job.sample.validation, classifier, cut) if job.sample.validation else None
    with job.clock.phase("train"):
        history = train_parameters(classifier, parameters, training, validation, settings, job.seed)
    steps = len(history) * math.ceil(len(training[0]) / batch_size(settings, len(training[0])))
    return Outcome(job.predictor(classifier), count, history, steps, notes or {})


def _layers(job: Job, classifier: Classifier, chosen: list[int]) -> Outcome:
    classifier.encoder.requires_grad_(False)
    for i in chosen:
        encoder_layers(classifier.encoder)[i].requires_grad_(True)
    return trained(job, classifier, min(chosen), {"layers": chosen})


def _cut(job: Job, classifier: Classifier) -> int:
    layers = len(encoder_layers(classifier.encoder))
    # At least one layer is trained.
    return min(round(job.settings.schedule.top_layers_from * layers), layers - 1)


def _linears(classifier: Classifier, layer: int) -> set[str]:
    """Return the names of the linear layers inside one layer."""
    above = (
        encoder_linears(classifier.encoder, layer + 1)
        if layer + 1 < len(encoder_layers(classifier.encoder))
        else {}
    )
    return encoder_linears(classifier.encoder, layer).keys() - above.keys()
