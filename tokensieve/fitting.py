"""The whole method: token-driven sparse fine-tuning, from labelled texts to a trained classifier.

The idea is that of arXiv 2508.08635, of which we know the abstract; the implementation is our own.
`fit_classifier` runs steps 1 to 5. The stages vocabulary, mask and finetune call the same parts,
with files between them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tokensieve.data.examples import Examples
from tokensieve.data.labels import encode_targets
from tokensieve.method.constructs import Construct, construct_positions, rank_constructs
from tokensieve.method.select import MaskSelection, first_trainable_layer, scoring_sample, select_mask
from tokensieve.method.vocabulary import choose_new_tokens, extend_tokenizer
from tokensieve.model.batches import Inputs, tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import added_token_ids, load_base_tokenizer, load_tokenizer
from tokensieve.model.state_cache import cache_states
from tokensieve.settings import Settings
from tokensieve.training.device import choose_device
from tokensieve.training.epochs import count_epochs
from tokensieve.training.loop import train_masked
from tokensieve.training.schedule import Pair, Schedule, plan_schedule

Step = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Fitted:
    """The result of `fit_classifier`.

    Attributes:
        classifier: The trained classifier.
        tokenizer: Its tokenizer, with the new tokens if there are any.
        constructs: The ranked constructs; empty if no setting needs them.
        selection: The mask, and how far the task is from pre-training.
        schedule: Which layers were trained in which epoch.
        history: One record per epoch (`training.loop.History`).
    """

    classifier: Classifier
    tokenizer: PreTrainedTokenizerFast
    constructs: list[Construct]
    selection: MaskSelection
    schedule: Schedule
    history: list[dict[str, Any]]


def fit_classifier(
    train: Examples,
    validation: Examples | None,
    labels: list[str],
    settings: Settings,
    base: Path,
    folder: Path,
    step: Step = lambda _: nullcontext(),
) -> Fitted:
    """Train a classifier by token-driven sparse fine-tuning of a base model.

    It keeps the epoch with the lowest validation loss, or without validation the last epoch.

    Args:
        train, validation: The training texts, and those for early stopping, if there are any.
        labels: The names of the classes, in the order of the logits.
        settings: The settings of the project.
        base, folder: The folder of the base model, and the one to write the tokenizer to.
        step: Every step runs inside `step(name)`, for example to measure its time.

    Raises:
        InputError: If the base model or the device does not suit the settings.
    """
    targets = [encode_targets(part.labels, labels, train.multi_label) for part in (train, validation) if part]
    with step("mine"):  # 1. words and phrases that distinguish the classes
        constructs = rank(train, settings) if needs_constructs(settings) else []
    with step("load"):  # 2. these words as new tokens, if wanted, and an untrained classifier
        tokenizer = _new_tokenizer(base, constructs, folder, settings)
        classifier = new_classifier(base, folder, labels, targets[0], settings)
    with step("tokenize"):
        inputs = [encode(tokenizer, part.texts, classifier, settings) for part in (train, validation) if part]
    with step("cache"):  # the layers that never train are computed once
        first = first_trainable_layer(classifier, settings.schedule)
        parts = list(zip([cache_states(part, classifier, first) for part in inputs], targets, strict=True))
    with step("score"):  # 3. a score per weight, at these words, 4. the best rows within the budget
        texts = [construct.text for construct in constructs]
        selection = select_weights(classifier, parts[0], train.texts, texts, folder, settings)
    with step("train"):  # 5. the head, then all layers that are not frozen, then the top layers
        validating = parts[1] if validation else None
        schedule = plan(classifier, parts[0], selection.is_far, settings)
        history = train_masked(
            classifier, selection.mask, parts[0], validating, settings.finetune, settings.data.seed, schedule
        )
    return Fitted(classifier, tokenizer, constructs, selection, schedule, history)


def _new_tokenizer(
    base: Path, constructs: Sequence[Construct], folder: Path, settings: Settings
) -> PreTrainedTokenizerFast:
    """Write the tokenizer of `base`, with its prompt and the new tokens, to `folder`; return it."""
    tokenizer = load_base_tokenizer(base, settings.base.prompt)
    new_tokens = choose_new_tokens(tokenizer, constructs, settings.vocabulary.new_tokens)
    return extend_tokenizer(tokenizer, new_tokens, folder)


def needs_constructs(settings: Settings) -> bool:
    """Return whether the mask or the tokenizer depends on the constructs."""
    return settings.mask.score == "construct_fisher" or settings.vocabulary.new_tokens > 0


def rank(train: Examples, settings: Settings) -> list[Construct]:
    """Return the constructs of the training texts, the most informative first (step 1)."""
    chosen = settings.vocabulary
    return rank_constructs(
        train.texts,
        train.labels,
        chosen.max_constructs,
        chosen.max_words,
        chosen.min_texts,
        train.multi_label,
    )


def new_classifier(
    base: Path, tokenizer: Path, labels: list[str], targets: Tensor, settings: Settings
) -> Classifier:
    """Return the untrained classifier of `labels`, on the device that trains it.

    For multi-label data, the head starts from the frequencies of the labels in `targets`.

    Args:
        base: The folder of the base model.
        tokenizer: The folder of the extended tokenizer.
        labels: The names of the classes, in the order of the logits.
        targets: int64 [texts], or for multi-label data float32 [texts, classes] of 0 and 1.
        settings: The pooling, the seed and the device are used.

    Raises:
        InputError: If the base model's pooling is not supported, or no GPU works and one is needed.
    """
    classifier = Classifier.new(base, tokenizer, settings.base.pooling, labels, settings.data.seed)
    classifier.encoder.requires_grad_(False)
    if targets.dim() == 2:
        classifier.init_head_bias_from_priors(targets)
    return classifier.to(choose_device(settings.finetune.device))


def encode(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], classifier: Classifier, settings: Settings
) -> Inputs:
    """Return the texts as token ids, on the device of `classifier`."""
    ids = tokenize(tokenizer, texts, settings.base.max_length, settings.base.truncation)
    return Inputs(ids, next(classifier.parameters()).device)


def select_weights(
    classifier: Classifier,
    training: Pair,
    texts: Sequence[str],
    constructs: Sequence[str],
    tokenizer: Path,
    settings: Settings,
) -> MaskSelection:
    """Score the weights at the tokens of the constructs, and select the mask (steps 3 and 4).

    Args:
        classifier: Untrained, with a frozen encoder.
        training: The training texts and their targets.
        texts: The same training texts as strings. A sample of them is scored.
        constructs: The texts of the constructs.
        tokenizer: The folder of the extended tokenizer.
        settings: The sections base, data, mask, schedule and vocabulary are used.

    Raises:
        InputError: If the budget is too small for the unit of the mask.
    """
    positions: Mapping[int, Sequence[bool]] | None = None
    if settings.mask.score == "construct_fisher":
        sample = scoring_sample(len(texts), settings.mask, settings.data.seed)
        positions = construct_positions(
            load_tokenizer(tokenizer),
            {index: texts[index] for index in sample},
            constructs,
            settings.vocabulary.max_words,
            settings.base.max_length,
            settings.base.truncation,
        )
        if not any(map(any, positions.values())):
            positions = None  # no text has a construct, so all tokens count
    return select_mask(
        classifier,
        *training,
        positions,
        settings.mask,
        settings.schedule,
        settings.data.seed,
        added_token_ids(tokenizer),
    )


def plan(
    classifier: Classifier,
    training: Pair,
    is_far: bool,
    settings: Settings,
    folder: Path | None = None,
    key: str = "",
) -> Schedule:
    """Return the schedule of the training on `training` (step 5).

    All layers that are not frozen train in every epoch if `is_far`, or for multi-label data.
    `folder` and `key` are those of `training.schedule.Schedule`.
    """
    inputs, targets = training
    epochs = count_epochs(settings.finetune, len(inputs))
    return plan_schedule(classifier, settings.schedule, epochs, is_far or targets.dim() == 2, folder, key)
