"""Masks on the model's own rows, trained by the library above a cached prefix: tokensieve, and its rivals at the same budget.

The steps are those of the stages vocabulary, mask and finetune of the pipeline; a test holds the masks of both to be the same.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.training.method_api import Job, Outcome
from tokensieve.method.constructs import Construct, rank_constructs
from tokensieve.method.mask import Mask, unit_count
from tokensieve.method.select import (
    all_layer_epochs,
    count_masked_parameters,
    first_top_layer,
    first_trainable_layer,
    scoring_sample,
    select_mask,
)
from tokensieve.method.vocabulary import added_token_ids, choose_new_tokens, extend_tokenizer
from tokensieve.model.batches import construct_positions
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_linears, load_tokenizer
from tokensieve.training.loop import Freezing, batch_size, count_epochs, train_masked


def tokensieve(job: Job) -> Outcome:
    """Scores at the positions of token constructs."""
    return _masked(job, "construct_fisher")


def fish(job: Job) -> Outcome:
    """Scores at all positions (FISH mask, Sung et al. 2021)."""
    return _masked(job, "fisher")


def magnitude_mask(job: Job) -> Outcome:
    """Rows with the largest weights."""
    return _masked(job, "magnitude")


def random_mask(job: Job) -> Outcome:
    """Rows drawn at random."""
    return _masked(job, "random")


def _masked(job: Job, score: str) -> Outcome:
    settings = job.settings
    with tempfile.TemporaryDirectory() as scratch:
        constructs = _constructs(job) if score == "construct_fisher" else []
        tokenizer = Path(scratch)
        with job.clock.phase("load"):
            plain = load_tokenizer(job.folder)
            extend_tokenizer(
                plain,
                choose_new_tokens(plain, constructs, settings.vocabulary.new_tokens)
                if settings.vocabulary.new_tokens
                else {},
                tokenizer,
            )
            classifier = job.ready(
                Classifier.new(job.folder, tokenizer, settings.base.pooling, job.sample.labels, job.seed)
            )
            classifier.encoder.requires_grad_(False)
        chosen = dataclasses.replace(settings.mask, score=score)
        first = first_trainable_layer(classifier, settings.schedule)
        training = job.pair(job.sample.train, classifier, first, tokenizer)
        validation = (
            job.pair(job.sample.validation, classifier, first, tokenizer) if job.sample.validation else None
        )
        with job.clock.phase("score"):
            positions = _positions(job, constructs, tokenizer) if score == "construct_fisher" else None
            choice = select_mask(
                classifier,
                *training,
                positions,
                chosen,
                settings.schedule,
                job.seed,
                added_token_ids(tokenizer),
            )
        mask = choice.mask
        with job.clock.phase("train"):
            opened = all_layer_epochs(
                settings.schedule,
                count_epochs(settings.finetune, len(training[0])),
                choice.distant or job.sample.separator is not None,
            )
            freezing = Freezing(first_top_layer(classifier, settings.schedule), opened)
            history = train_masked(
                classifier, mask, training, validation, settings.finetune, job.seed, freezing
            )
        trained = count_masked_parameters(classifier, mask) + sum(
            parameter.numel() for parameter in classifier.head.parameters()
        )
        notes: dict[str, Any] = {
            "first": first,
            "cut": freezing.cut,
            "distant": choice.distant,
            "open": [opened.start, opened.stop],
            "rows": sum(map(len, mask.indices.values())),
            "shares": _shares(classifier, mask, first),
            "constructs": len(constructs),
        }
        steps = len(history) * math.ceil(len(training[0]) / batch_size(settings.finetune, len(training[0])))
        return Outcome(job.predictor(classifier, tokenizer), trained, history, steps, notes)


def _shares(classifier: Classifier, mask: Mask, first: int) -> dict[str, float]:
    """The share of what is selected of each linear from layer `first` up, by module name."""
    linears = encoder_linears(classifier.encoder, first)
    return {
        name: round(len(mask.indices.get(name, ())) / unit_count(linear.weight, mask.shape), 4)
        for name, linear in linears.items()
    }


def _constructs(job: Job) -> list[Construct]:
    chosen = job.settings.vocabulary
    with job.clock.phase("mine"):
        train, separator = job.sample.train, job.sample.separator
        return rank_constructs(
            train.texts,
            train.labels,
            chosen.max_constructs,
            chosen.max_words,
            chosen.min_texts,
            separator,
        )


def _positions(job: Job, constructs: list[Construct], tokenizer: Path) -> dict[int, list[bool]]:
    words, length = job.settings.vocabulary.max_words, job.settings.base.max_length
    known = [construct.text for construct in constructs]
    texts = {
        i: job.sample.train.texts[i]
        for i in scoring_sample(len(job.sample.train), job.settings.mask, job.seed)
    }
    return construct_positions(load_tokenizer(tokenizer), texts, known, words, length)
