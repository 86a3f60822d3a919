"""New tokens whose embedding rows are fitted before the rest is trained as tokensieve does.

`tokensieve@vocabulary.new_tokens=300` starts each new row as the mean of its old pieces' rows. Here
the rows are fitted on the training texts after that: to the states that the encoder had with the
old pieces (distillation), or to the labels. All other weights of the encoder stay as they are. The
encoder with these rows is then the base model of the usual training.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from benchmarks.methods import masked
from benchmarks.training.method_api import Job, Outcome
from tokensieve.fitting import encode, new_classifier, rank
from tokensieve.method.mask import Mask
from tokensieve.method.select import first_trainable_layer
from tokensieve.method.sparse import sparse_layers
from tokensieve.method.vocabulary import choose_new_tokens, extend_tokenizer
from tokensieve.model.batches import Batch, Inputs, token_offsets
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import added_token_ids, load_base_tokenizer, load_tokenizer
from tokensieve.settings import Settings
from tokensieve.training.epochs import batch_size, count_epochs, shuffled_batches
from tokensieve.training.loop import train_masked
from tokensieve.training.schedule import Schedule, full_depth_epochs

Offsets = Sequence[tuple[int, int]]
Goal = Callable[[int], Tensor]
Error = Callable[[Batch, Sequence[Tensor]], Tensor]
Fit = Callable[[Job, Classifier, Path, Settings], None]


def distilled_states(job: Job) -> Outcome:
    """Fit the new rows to the old states that enter the first trainable layer."""
    return _with_fitted_rows(job, _distil_states)


def distilled_vectors(job: Job) -> Outcome:
    """Fit the new rows to the old vectors of the texts."""
    return _with_fitted_rows(job, _distil_vectors)


def trained_rows(job: Job) -> Outcome:
    """Train the new rows and the head alone on the labels, and then all as usual."""
    return _with_fitted_rows(job, _train_rows)


def _with_fitted_rows(job: Job, fit: Fit) -> Outcome:
    """Train on a base model that has the new tokens, with rows that `fit` changes in place.

    The number of new tokens is that of the settings, or if they have none that of the options.
    """
    most = job.settings.vocabulary.new_tokens or job.options["new_tokens"]
    with tempfile.TemporaryDirectory() as name:
        folder, sample = Path(name), job.sample
        with job.clock.phase("rows"):
            before = load_base_tokenizer(job.folder, job.settings.base.prompt)
            added = choose_new_tokens(before, rank(sample.train, job.settings), most)
            tokenizer = extend_tokenizer(before, added, folder)
            targets = sample.targets(sample.train)
            classifier = new_classifier(job.folder, folder, sample.labels, targets, job.settings)
            if added:
                fit(job, classifier, folder, job.settings)
            classifier.save(folder, tokenizer, {})
        settings = dataclasses.replace(
            job.settings,
            base=dataclasses.replace(job.settings.base, pooling=classifier.pooling),
            vocabulary=dataclasses.replace(job.settings.vocabulary, new_tokens=0),
        )
        outcome = masked.tokensieve(dataclasses.replace(job, settings=settings, folder=folder))
    return dataclasses.replace(
        outcome,
        trained=outcome.trained + len(added) * classifier.head.in_features,
        notes=outcome.notes | {"new_tokens": len(added)},
    )


def _distil_states(job: Job, classifier: Classifier, extended: Path, settings: Settings) -> None:
    """Fit the new rows, so that each token's state is the mean of its old pieces' states."""
    texts, layer = job.sample.train.texts, max(1, first_trainable_layer(classifier, settings.schedule))
    old, new = (_inputs(folder, job, classifier) for folder in (job.folder, extended))
    spans = [
        token_offsets(load_tokenizer(folder), texts, settings.base.max_length, settings.base.truncation)
        for folder in (job.folder, extended)
    ]

    def goal(text: int) -> Tensor:
        states = old.batch([text]).hidden_states_at(classifier, layer)[0]
        return overlap_shares(spans[1][text], spans[0][text]) @ states

    def error(batch: Batch, goals: Sequence[Tensor]) -> Tensor:
        states, mask = batch.hidden_states_at(classifier, layer), batch.attention_mask
        return (
            (states - pad_sequence(list(goals), batch_first=True)).square().mean(2) * mask
        ).sum() / mask.sum()

    _fit_rows(job, classifier, added_token_ids(extended), new, goal, error)


def _distil_vectors(job: Job, classifier: Classifier, extended: Path, settings: Settings) -> None:
    """Fit the new rows, so that each text's vector is what it was."""
    old, new = (_inputs(folder, job, classifier) for folder in (job.folder, extended))

    def goal(text: int) -> Tensor:
        return old.batch([text]).features(classifier)[0]

    def error(batch: Batch, goals: Sequence[Tensor]) -> Tensor:
        return (batch.features(classifier) - torch.stack(list(goals))).square().mean()

    _fit_rows(job, classifier, added_token_ids(extended), new, goal, error)


def _fit_rows(
    job: Job, classifier: Classifier, ids: Sequence[int], inputs: Inputs, goal: Goal, error: Error
) -> None:
    """Fit the rows `ids`, so that the `error` against each text's `goal` is small.

    Texts without a new token are as they were, so they are left out.
    """
    changed = [i for i in range(len(inputs)) if set(ids) & set(inputs.token_ids(i).tolist())]
    with torch.no_grad():
        goals = {i: goal(i) for i in changed}
    lengths = [inputs.lengths[i] for i in changed]
    size = batch_size(job.settings.finetune, len(changed))
    with sparse_layers(classifier.encoder, Mask("rows", {}, torch.tensor(ids))) as sparse:
        (embedding,) = sparse.values()
        optimizer = torch.optim.Adam(embedding.parameters(), lr=job.options["learning_rate"])
        for epoch in range(job.options["epochs"]):
            for places in shuffled_batches(lengths, size, epoch):
                chosen = [changed[place] for place in places]
                optimizer.zero_grad()
                error(inputs.batch(chosen), [goals[i] for i in chosen]).backward()
                optimizer.step()
                embedding.write()


def _inputs(folder: Path, job: Job, classifier: Classifier) -> Inputs:
    """Return the training texts as the tokenizer in `folder` divides them."""
    return encode(load_tokenizer(folder), job.sample.train.texts, classifier, job.settings)


def overlap_shares(new: Offsets, old: Offsets) -> Tensor:
    """Return for each new token the shares of the old tokens that it replaces.

    It is float32 [new tokens, old tokens], and each row has the sum 1. A token replaces the tokens
    that share characters with it. Special tokens, which have none, follow their order.
    """
    shares = torch.zeros(len(new), len(old))
    for row, (start, end) in enumerate(new):
        for column, (first, last) in enumerate(old):
            shares[row, column] = first < end and last > start
    special = ([i for i, (start, end) in enumerate(own) if start == end] for own in (new, old))
    for row, column in zip(*special, strict=True):
        shares[row, column] = 1.0
    return shares / shares.sum(1, keepdim=True).clamp(min=1.0)


def _train_rows(job: Job, classifier: Classifier, extended: Path, settings: Settings) -> None:
    """Train the head, and then the head and the new rows through the whole encoder."""
    sample = job.sample
    inputs = _inputs(extended, job, classifier)
    epochs = count_epochs(settings.finetune, len(inputs))
    full = full_depth_epochs(settings.schedule, epochs, sample.multi_label)
    schedule = Schedule(0, range(full.start, epochs))
    mask = Mask("rows", {}, torch.tensor(added_token_ids(extended)))
    pair = (inputs, sample.targets(sample.train))
    train_masked(classifier, mask, pair, None, settings.finetune, job.seed, schedule)
