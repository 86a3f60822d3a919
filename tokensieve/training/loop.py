"""Fine-tuning with early stopping on validation, resumable by epochs, and layers that freeze on the way.

`train` trains the masked weights and the head; `fit` is its loop, for any set of parameters. Every epoch is seeded by itself, so
that one resumed from a checkpoint goes on exactly as it would have. In several processes (`distributed.py`) each computes its share of
every batch: but for the order of sums and the random numbers of dropout, the result is that of one.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from tokensieve import distributed
from tokensieve.cpus import cores
from tokensieve.errors import InputError
from tokensieve.method.mask import Mask
from tokensieve.method.sparse import sparse_layers
from tokensieve.model.batches import Batch, Inputs, batches_by_length
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_layers
from tokensieve.settings import Finetune
from tokensieve.training.checkpoint import Checkpoint

log = logging.getLogger("tokensieve")

BUCKET = 50  # batches among which texts are sorted by length
SMALLEST = 8  # texts a step, of a small data set: with fewer, a step costs more and learns no better

Pair = tuple[Inputs, Tensor]


@dataclass(frozen=True)
class Freezing:
    """What trains when: before the epochs `open` (the first is 0) the head alone, in them all, after them the layers from `cut` up.

    What does not train is computed once, before the first epoch and after the last open one. With `folder`, these states are kept there
    in files whose names begin with `key`, which must name the training they belong to.
    """

    cut: int
    open: range = range(0)
    folder: Path | None = None
    key: str = ""

    def phase(self, epoch: int) -> str:
        """Where `epoch` lies: head, open or after."""
        return "open" if epoch in self.open else "head" if epoch < self.open.start else "after"

    def served(self, classifier: Classifier, pair: Pair, part: str, phase: str) -> Pair:
        """What trains in `phase`: the part `pair` itself, or its states that enter the lowest layer that trains, or the head."""
        inputs, targets = pair
        if phase == "open":
            return pair
        cut = self.cut if phase == "after" else len(encoder_layers(classifier.encoder))
        return inputs.freeze(classifier.eval(), cut, self.folder, f"{self.key}-{part}-{phase}"), targets


def train_masked(
    classifier: Classifier,
    mask: Mask,
    training: Pair,
    validation: Pair | None,
    settings: Finetune,
    seed: int,
    freezing: Freezing | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[dict[str, Any]]:
    """Train the masked weights and the head of `classifier` in place; arguments and result are those of `fit`."""
    with sparse_layers(classifier.encoder, mask) as sparse:

        def write() -> None:
            for module in sparse.values():
                module.write()

        trained = dict(_trained(classifier, sparse))
        return train_parameters(
            classifier, trained, training, validation, settings, seed, freezing, checkpoint, write
        )


def train_parameters(
    classifier: Classifier,
    trained: Mapping[str, nn.Parameter],
    training: Pair,
    validation: Pair | None,
    settings: Finetune,
    seed: int,
    freezing: Freezing | None = None,
    checkpoint: Checkpoint | None = None,
    write: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Train the parameters `trained`, in place, and leave them as in the best epoch; returns one record an epoch.

    Those whose names begin with "head." learn at the head's rate. `training` and `validation` are inputs with their targets: int64
    [texts] for one label a text, float32 [texts, classes] of 0 and 1 for several. The best epoch has the lowest validation loss;
    without validation it is the last one. `write` is called whenever trained values have changed.

    Raises:
        InputError: several processes do not find the same checkpoint, or what `Inputs.freeze` raises.
    """
    inputs, targets = training
    freezing = freezing or Freezing(inputs.cut)
    weights = (
        class_weights(targets, len(classifier.labels)).to(inputs.device)
        if settings.class_weights == "balanced"
        else None
    )
    epochs = count_epochs(settings, len(inputs))
    optimizer = _optimizer(trained, settings, several=targets.dim() == 2)
    rates = [group["lr"] for group in optimizer.param_groups]
    history, best = _resumed(checkpoint, trained, optimizer, write)
    phase = ""
    for epoch in range(len(history), epochs):
        # The head alone may come to a halt before the layers have begun.
        if min(_stalled(history), epoch - freezing.open.start) >= settings.patience:
            break
        if freezing.phase(epoch) != phase:
            phase = freezing.phase(epoch)
            inputs, _ = freezing.served(classifier, training, "train", phase)
            checked = freezing.served(classifier, validation, "validation", phase) if validation else None
            compute = _computation(classifier, trained, inputs)
        # Each process draws a dropout of its own; 1_009 is more than there are epochs.
        torch.manual_seed(seed * 1_000_003 + epoch + distributed.rank() * 1_009)
        classifier.train()
        losses = 0.0
        order = shuffled_batches(inputs.lengths, batch_size(settings, len(inputs)), seed * 1_000_003 + epoch)
        for step, indices in enumerate(_bar(order, f"epoch {epoch + 1} of {epochs}")):
            now = learning_rate_factor(epoch * len(order) + step, epochs * len(order), settings.warmup)
            for group, highest in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = highest * now
            share, factor = _share(indices, targets, weights)
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=inputs.device.type == "cuda"):
                logits = compute(inputs.batch(share))
            loss = mean_loss(logits.float(), targets[share].to(inputs.device), weights) * factor
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            write()
            losses += loss.item() * len(indices)
        losses = (
            float(distributed.sum_over_processes(torch.tensor(losses, dtype=torch.float64)))
            / distributed.world_size()
        )
        record = {"train_loss": losses / len(inputs)} | (_validated(classifier, checked) if checked else {})
        # Machines may differ in the last bit, and all must stop at the same epoch.
        history.append(
            {"epoch": epoch + 1}
            | dict(zip(record, distributed.broadcast_from_first(list(record.values())), strict=True))
        )
        figures = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in record.items())
        log.info("  epoch %d of %d: %s", epoch + 1, epochs, figures)
        if _best(history) == epoch:
            best = {name: parameter.detach().clone() for name, parameter in trained.items()}
        if checkpoint and distributed.rank() == 0:
            tensors = dict(trained) | {f"best.{name}": tensor for name, tensor in best.items()}
            checkpoint.save(tensors, optimizer, {"history": history})
    _restore(trained, best, write)
    classifier.eval()
    return history


def mean_loss(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """The mean loss of logits [texts, classes]: cross entropy for targets int64 [texts], binary cross entropy, summed over the
    classes, for targets float32 [texts, classes]. `weights` [classes] weigh the texts of a class, or the presence of a label."""
    if targets.dim() == 1:
        return F.cross_entropy(logits, targets, weights)
    return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction="sum") / len(
        targets
    )


def accuracy(logits: Tensor, targets: Tensor) -> float:
    """The share of texts with the right label; with several labels a text, of those with all of them right at threshold 1/2."""
    if targets.dim() == 1:
        return (logits.argmax(1) == targets).float().mean().item()
    return ((logits > 0) == (targets > 0)).all(1).float().mean().item()


def set_threads(threads: int) -> None:
    """Let torch compute on `threads` CPU threads; 0: all cores this process may use, or its share of them."""
    torch.set_num_threads(threads or max(1, cores() // distributed.local_world_size()))


def count_epochs(settings: Finetune, texts: int) -> int:
    """Passes over `texts` texts: as many as `settings.epochs` and `settings.steps` both allow, at least one."""
    return max(
        1,
        min(
            settings.max_epochs,
            math.ceil(settings.max_steps / math.ceil(texts / batch_size(settings, texts))),
        ),
    )


def batch_size(settings: Finetune, texts: int) -> Fraction:
    """Texts a step, on average, of a training on `texts` texts, at least one: `settings.batch`, or as many fewer as give an epoch
    `settings.steps_per_epoch` steps, but not fewer than 8. What little there is to learn from takes steps, too: after 16 of them
    the head of 35 texts is half trained."""
    steps = min(settings.min_steps_per_epoch, texts // SMALLEST)
    return min(Fraction(settings.batch_size), Fraction(texts, max(1, steps)))


def shuffled_batches(lengths: Sequence[int], size: Fraction | int, seed: int) -> list[list[int]]:
    """All indices in shuffled batches of texts of similar length, `size` texts on average; only a last one may be smaller."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(lengths), generator=generator).tolist()
    chunks = []
    sorted_together = int(size * BUCKET)
    for first in range(0, len(order), sorted_together):
        bucket = sorted(order[first : first + sorted_together], key=lengths.__getitem__)
        ends = [round(i * size) for i in range(math.ceil(len(bucket) / size) + 1)]
        chunks += [bucket[start:end] for start, end in pairwise(ends)]
    return [chunks[i] for i in torch.randperm(len(chunks), generator=generator).tolist()]


def learning_rate_factor(step: int, total: int, warmup: float) -> float:
    """The share of the learning rate at `step` of `total`: a linear rise over the first `warmup`, then a linear fall to 0."""
    rise = max(1, round(total * warmup))
    return (step + 1) / rise if step < rise else max(0.0, (total - step) / max(1, total - rise))


def class_weights(targets: Tensor, classes: int) -> Tensor:
    """Loss weights float32 [classes], inverse to the classes' frequency: for one label a text 1 on average over the texts, for
    several the texts without the label over those with it."""
    if targets.dim() == 2:
        having = targets.sum(0).clamp(min=1.0)
        return (len(targets) - having).clamp(min=1.0) / having
    counts = torch.bincount(targets, minlength=classes)
    return len(targets) / (int((counts > 0).sum()) * counts.clamp(min=1).float())


@torch.inference_mode()
def compute_logits(classifier: Classifier, inputs: Inputs) -> Tensor:
    """Logits float32 [texts, classes] on the CPU, in evaluation mode; each of several processes computes a share and gets all."""
    classifier.eval()
    found = torch.zeros(len(inputs), len(classifier.labels))
    for indices in distributed.shard(batches_by_length(inputs.lengths, inputs.tokens_a_batch)):
        found[indices] = inputs.batch(indices).logits(classifier).float().cpu()
    return distributed.sum_over_processes(found)


def _computation(
    classifier: Classifier, trained: Mapping[str, nn.Parameter], inputs: Inputs
) -> Callable[[Batch], Tensor]:
    """The logits of a batch of `inputs`, with gradients that are the mean of all processes'."""

    def compute(batch: Batch) -> Tensor:
        return batch.logits(classifier)

    if distributed.world_size() == 1:
        return compute
    # All wait for the gradient of every parameter that is named: those of layers below the cut never get one.
    gradients = torch.autograd.grad(
        compute(inputs.batch([0])).sum(), list(trained.values()), allow_unused=True
    )
    reached = [
        parameter
        for parameter, gradient in zip(trained.values(), gradients, strict=True)
        if gradient is not None
    ]
    return distributed.data_parallel(compute, reached)


def _share(indices: list[int], targets: Tensor, weights: Tensor | None) -> tuple[list[int], float]:
    """This process's share of a batch, and the factor on the share's mean loss with which the mean over the processes is the batch's.

    Where there are fewer texts than processes, a share is some text with the factor 0: all must take part in every step.
    """
    mine = list(distributed.shard(indices))

    def weight(texts: list[int]) -> float:
        return (
            len(texts)
            if weights is None or targets.dim() == 2
            else float(weights.cpu()[targets[texts]].double().sum())
        )

    return mine or indices[:1], distributed.world_size() * weight(mine) / weight(indices)


def _resumed(
    checkpoint: Checkpoint | None,
    trained: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    write: Callable[[], None],
) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """The history and the best values of the training that is in the checkpoint, all else set to where it stood; empty if none is."""
    history: list[dict[str, Any]] = []
    best: dict[str, Tensor] = {}
    if checkpoint and (found := checkpoint.load(optimizer)):
        tensors, facts = found
        history = facts["history"]
        best = {
            name.removeprefix("best."): tensor for name, tensor in tensors.items() if name.startswith("best.")
        }
        _restore(trained, {name: tensors[name] for name in trained}, write)
    if distributed.broadcast_from_first([len(history)]) != [len(history)]:
        raise InputError(
            "the training processes find different checkpoints; put the project on a disk that all machines share"
        )
    return history, best


def _bar(order: list[list[int]], name: str) -> Iterable[list[int]]:
    return tqdm(order, desc=name, unit="step", leave=False, disable=distributed.hide_progress())


def _validated(classifier: Classifier, validation: Pair) -> dict[str, float]:
    inputs, targets = validation
    logits = compute_logits(classifier, inputs)
    return {
        "validation_loss": mean_loss(logits, targets).item(),
        "validation_accuracy": accuracy(logits, targets),
    }


def _trained(classifier: Classifier, sparse: dict[str, Any]) -> Iterator[tuple[str, nn.Parameter]]:
    for name, module in sparse.items():
        for kind, parameter in module.named_parameters():
            yield f"{name}.{kind}", parameter
    for kind, parameter in classifier.head.named_parameters():
        yield f"head.{kind}", parameter


def _optimizer(
    trained: Mapping[str, nn.Parameter], settings: Finetune, several: bool
) -> torch.optim.Optimizer:
    # A label that is decided by itself must pass a threshold, which takes its logit further than to rise above the others.
    rate = settings.multilabel_head_learning_rate if several else settings.head_learning_rate
    head = [parameter for name, parameter in trained.items() if name.startswith("head.")]
    masked = [parameter for name, parameter in trained.items() if not name.startswith("head.")]
    groups = [{"params": masked, "lr": settings.learning_rate}, {"params": head, "lr": rate}]
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)


@torch.no_grad()
def _restore(
    trained: Mapping[str, nn.Parameter], values: Mapping[str, Tensor], write: Callable[[], None]
) -> None:
    for name, parameter in trained.items():
        parameter.copy_(values[name])
    write()


def _best(history: list[dict[str, Any]]) -> int:
    if "validation_loss" not in history[-1]:
        return len(history) - 1
    return min(range(len(history)), key=lambda i: history[i]["validation_loss"])


def _stalled(history: list[dict[str, Any]]) -> int:
    """Epochs since the best one."""
    return len(history) - 1 - _best(history) if history else 0
