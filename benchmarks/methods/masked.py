"""Masks on the model's own rows, trained by the library above a cached prefix: tokensieve, and its rivals at the same budget.

The steps are those of the stages vocabulary, mask and finetune of the pipeline; a test holds the masks of both to be the same.
"""

from __future__ import annotations

import math
import random
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.job import Job, Outcome
from tokensieve import scores
from tokensieve.base import layers_of, linears_of, load_tokenizer
from tokensieve.classifier import Classifier
from tokensieve.constructs import Construct, marked, mine
from tokensieve.inputs import Inputs
from tokensieve.mask import Mask, select
from tokensieve.training import train
from tokensieve.vocabulary import additions, extend


def tokensieve(job: Job) -> Outcome:
    """Scores at the positions of token constructs."""
    return _masked(job, "tokens")


def fish(job: Job) -> Outcome:
    """Scores at all positions (FISH mask, Sung et al. 2021)."""
    return _masked(job, "positions")


def random_mask(job: Job) -> Outcome:
    """Rows drawn at random."""
    return _masked(job, "random")


def _masked(job: Job, score: str) -> Outcome:
    settings = job.settings
    with tempfile.TemporaryDirectory() as scratch:
        constructs = _constructs(job) if score == "tokens" else []
        tokenizer = Path(scratch)
        with job.clock.phase("load"):
            plain = load_tokenizer(job.folder)
            extend(plain, additions(plain, constructs, settings.vocabulary.extend) if settings.vocabulary.extend else {}, tokenizer)
            classifier = Classifier.new(job.folder, tokenizer, settings.base.pooling, job.sample.labels, job.seed).to(job.device)
            classifier.encoder.requires_grad_(False)
        cut = round(settings.mask.frozen * len(layers_of(classifier.encoder)))
        training = job.pair(job.sample.train, classifier, cut, tokenizer)
        validation = job.pair(job.sample.validation, classifier, cut, tokenizer) if job.sample.validation else None
        with job.clock.phase("score"):
            mask = _mask(job, score, classifier, training, cut, _positions(job, constructs, tokenizer) if score == "tokens" else None)
        with job.clock.phase("train"):
            history = train(classifier, mask, training, validation, settings.finetune, job.seed)
        trained = _weights(classifier, mask)
        notes: dict[str, Any] = {"cut": cut, "rows": sum(map(len, mask.indices.values())), "constructs": len(constructs)}
        steps = len(history) * math.ceil(len(training[0]) / settings.finetune.batch)
        return Outcome(job.predictor(classifier, tokenizer), trained, history, steps, notes)


def _constructs(job: Job) -> list[Construct]:
    chosen = job.settings.vocabulary
    with job.clock.phase("mine"):
        return mine(job.sample.train.texts, job.sample.train.labels, chosen.constructs, chosen.ngram, chosen.min_count)


def _positions(job: Job, constructs: list[Construct], tokenizer: Path) -> list[list[bool]]:
    known = frozenset(construct.text for construct in constructs)
    texts = job.sample.train.texts
    encoded = load_tokenizer(tokenizer)(texts, truncation=True, max_length=job.settings.base.max_length, return_offsets_mapping=True)
    return [
        marked(text, offsets, known, job.settings.vocabulary.ngram) for text, offsets in zip(texts, encoded["offset_mapping"], strict=True)
    ]


def _mask(
    job: Job, score: str, classifier: Classifier, training: tuple[Inputs, Tensor], cut: int, positions: list[list[bool]] | None
) -> Mask:
    chosen = job.settings.mask
    if score == "random":
        found = scores.random(classifier, job.seed, chosen.shape, cut)
    else:
        texts = len(training[0])
        sample = sorted(random.Random(job.seed).sample(range(texts), min(chosen.examples, texts)))
        found = scores.fisher(classifier, *training, chosen.shape, positions, cut, sample)
    across = 1 if chosen.shape == "rows" else 0
    sizes = {name: linear.weight.shape[across] for name, linear in linears_of(classifier.encoder, cut).items()}
    total = sum(linear.weight.numel() for linear in linears_of(classifier.encoder).values())
    return select(found, sizes, int(chosen.budget * total), chosen.shape)


def _weights(classifier: Classifier, mask: Mask) -> int:
    count = sum(parameter.numel() for parameter in classifier.head.parameters())
    for name, chosen in mask.indices.items():
        linear: Any = classifier.encoder.get_submodule(name)
        rows = mask.shape == "rows"
        count += len(chosen) * linear.weight.shape[1 if rows else 0] + (len(chosen) if rows and linear.bias is not None else 0)
    return count
