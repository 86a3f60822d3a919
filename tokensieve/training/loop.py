"""The training loop: epochs, early stopping, and resuming from a checkpoint.

`train_masked` trains the masked weights and the head. It calls the loop `train_parameters`, which
trains any set of parameters. Every epoch has a seed of its own, so a resumed training gives the
result of an uninterrupted one. If several processes train together (`distributed.py`), each
computes a share of every batch. Their result differs from that of one process only by the order of
sums and by the random numbers of dropout.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tokensieve import distributed
from tokensieve.bars import Bar
from tokensieve.cpus import cores
from tokensieve.errors import InputError
from tokensieve.method.mask import Mask
from tokensieve.method.sparse import sparse_layers
from tokensieve.model.batches import Inputs, batches_by_length
from tokensieve.model.classifier import Classifier
from tokensieve.model.products import fast_products
from tokensieve.settings import Finetune
from tokensieve.training.checkpoint import Checkpoint
from tokensieve.training.epochs import count_epochs
from tokensieve.training.losses import accuracy, calibrated_loss
from tokensieve.training.schedule import Pair, Schedule
from tokensieve.training.steps import Steps, data_parallel

log = logging.getLogger("tokensieve")

SHOWN_BATCHES = 50  # of fewer, no progress is shown: they take a moment

History = list[dict[str, Any]]
"""One record per epoch: epoch (from 1), train_loss, validation_loss and validation_accuracy.

The last two are missing if there are no validation texts. Losses are in nats per text, and the
validation loss is a `losses.calibrated_loss`.
"""


def train_masked(
    classifier: Classifier,
    mask: Mask,
    training: Pair,
    validation: Pair | None,
    settings: Finetune,
    seed: int,
    schedule: Schedule | None = None,
    checkpoint: Checkpoint | None = None,
) -> History:
    """Train the masked weights and the head of `classifier` in place.

    The other arguments, the result and the errors are those of `train_parameters`.
    """
    with sparse_layers(classifier.encoder, mask) as sparse:

        def write() -> None:
            for module in sparse.values():
                module.write()

        trained = dict(_trained_parameters(classifier, sparse))
        return train_parameters(
            classifier, trained, training, validation, settings, seed, schedule, checkpoint, write
        )


@fast_products()
def train_parameters(
    classifier: Classifier,
    trained: Mapping[str, nn.Parameter],
    training: Pair,
    validation: Pair | None,
    settings: Finetune,
    seed: int,
    schedule: Schedule | None = None,
    checkpoint: Checkpoint | None = None,
    write: Callable[[], None] = lambda: None,
) -> History:
    """Train the parameters `trained` in place, and keep their values of the best epoch.

    The best epoch has the lowest validation loss; without validation it is the last one. Parameters
    whose names begin with "head." have the head's learning rate. The training continues from
    `checkpoint` if that has one. `write` is called whenever trained values have changed.

    Raises:
        InputError: If the processes find different checkpoints, the disk has no room for cached
            states, or a loss is not a finite number.
    """
    schedule, epochs = schedule or Schedule(training[0].layer), count_epochs(settings, len(training[0]))
    steps = Steps.of(classifier, trained, training, settings, write)
    history, best = _resume(checkpoint, trained, steps.optimizer, write)
    phase = ""
    for epoch in range(len(history), epochs):
        # Before the layers have trained, the head's stagnation does not count.
        if min(_epochs_since_best(history), epoch - schedule.all_layers.start) >= settings.patience:
            break
        if schedule.phase(epoch) != phase:
            phase = schedule.phase(epoch)
            inputs = schedule.inputs_of(classifier, training[0], "train", phase)
            validating = validation and schedule.inputs_of(classifier, validation[0], "validation", phase)
            compute = data_parallel(classifier, trained, inputs)
        record = {"train_loss": steps.run_epoch(epoch, epochs, inputs, compute, seed)}
        if validation and validating:
            record |= _validate(classifier, validating, validation[1])
        history.append(_finite({"epoch": epoch + 1} | _agreed(record)))
        _log_epoch(history[-1], epochs)
        if _best_epoch(history) == epoch:
            best = {name: parameter.detach().clone() for name, parameter in trained.items()}
        _save(checkpoint, trained, best, steps.optimizer, history)
    _restore(trained, best, write)
    classifier.eval()
    return history


@fast_products()
@torch.inference_mode()
def compute_logits(classifier: Classifier, inputs: Inputs) -> Tensor:
    """Return the logits, float32 [texts, classes], on the CPU, computed in evaluation mode.

    If there are several processes, each computes a share of them and gets all of them.
    """
    classifier.eval()
    logits = torch.zeros(len(inputs), len(classifier.labels))
    batches = list(distributed.shard(batches_by_length(inputs.lengths, inputs.tokens_per_batch)))
    hidden = distributed.rank() > 0 or len(batches) < SHOWN_BATCHES
    with Bar(name="predicting", unit="text", total=sum(map(len, batches)), hidden=hidden) as bar:
        for indices in batches:
            logits[indices] = inputs.batch(indices).logits(classifier).float().cpu()
            bar.update(len(indices))
    return distributed.sum_over_processes(logits)


def set_threads(threads: int) -> None:
    """Let torch compute on `threads` CPU threads.

    With 0, it uses all cores of this process, shared equally by the processes of this machine.
    """
    torch.set_num_threads(threads or max(1, cores() // distributed.local_world_size()))


def _resume(
    checkpoint: Checkpoint | None,
    trained: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    write: Callable[[], None],
) -> tuple[History, dict[str, Tensor]]:
    """Restore the training in the checkpoint, and return its history and its best values.

    Both are empty if there is no checkpoint.
    """
    history: History = []
    best: dict[str, Tensor] = {}
    if checkpoint and (saved := checkpoint.load(optimizer)):
        tensors, metadata = saved
        history = metadata["history"]
        log.info("  goes on after epoch %d", len(history))
        best = {
            name.removeprefix("best."): tensor for name, tensor in tensors.items() if name.startswith("best.")
        }
        _restore(trained, {name: tensors[name] for name in trained}, write)
    if distributed.broadcast_from_first([len(history)]) != [len(history)]:
        raise InputError(
            "the training processes find different checkpoints. Put the project on a disk that all machines "
            "share"
        )
    return history, best


def _save(
    checkpoint: Checkpoint | None,
    trained: Mapping[str, nn.Parameter],
    best: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    history: History,
) -> None:
    """Write the state of the training to the checkpoint, if there is one."""
    if checkpoint and distributed.rank() == 0:
        tensors = dict(trained) | {f"best.{name}": tensor for name, tensor in best.items()}
        checkpoint.save(tensors, optimizer, {"history": history})


def _agreed(record: dict[str, float]) -> dict[str, float]:
    """Return the record of the first process.

    All processes must stop at the same epoch, but machines may differ in the last bit of a loss.
    """
    return dict(zip(record, distributed.broadcast_from_first(list(record.values())), strict=True))


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record of an epoch.

    No loss is lower than a loss that is not a number, so such an epoch would count as the best one.

    Raises:
        InputError: If one of its values is not a finite number.
    """
    for name, value in record.items():
        if not math.isfinite(value):
            raise InputError(
                f"the training does not converge: the {name.replace('_', ' ')} of epoch {record['epoch']} is "
                f"{value}; lower finetune.learning_rate and the learning rate of the head, or check the "
                "weights of base.model"
            )
    return record


def _log_epoch(record: dict[str, Any], epochs: int) -> None:
    measures = [f"{name.replace('_', ' ')} {value:.4f}" for name, value in record.items() if name != "epoch"]
    log.info("  epoch %d of %d: %s", record["epoch"], epochs, ", ".join(measures))


def _validate(classifier: Classifier, inputs: Inputs, targets: Tensor) -> dict[str, float]:
    logits = compute_logits(classifier, inputs)
    return {
        "validation_loss": calibrated_loss(logits, targets),
        "validation_accuracy": accuracy(logits, targets),
    }


def _trained_parameters(classifier: Classifier, sparse: dict[str, Any]) -> Iterator[tuple[str, nn.Parameter]]:
    for name, module in sparse.items():
        for kind, parameter in module.named_parameters():
            yield f"{name}.{kind}", parameter
    for kind, parameter in classifier.head.named_parameters():
        yield f"head.{kind}", parameter


@torch.no_grad()
def _restore(
    trained: Mapping[str, nn.Parameter], values: Mapping[str, Tensor], write: Callable[[], None]
) -> None:
    for name, parameter in trained.items():
        parameter.copy_(values[name])
    write()


def _best_epoch(history: History) -> int:
    if "validation_loss" not in history[-1]:
        return len(history) - 1
    return min(range(len(history)), key=lambda i: history[i]["validation_loss"])


def _epochs_since_best(history: History) -> int:
    return len(history) - 1 - _best_epoch(history) if history else 0
