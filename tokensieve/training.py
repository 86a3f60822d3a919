"""Fine-tuning of the masked weights and the head, with early stopping on validation and resumable epochs.

Every epoch is seeded by itself, so that one resumed from a checkpoint goes on exactly as it would have.
Not here: several GPUs, streaming of data that outgrows memory, more than one label a text.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from tokensieve.checkpoint import Checkpoint
from tokensieve.classifier import Classifier
from tokensieve.inputs import Inputs, by_length
from tokensieve.mask import Mask
from tokensieve.settings import Finetune
from tokensieve.sparse import attached

log = logging.getLogger("tokensieve")

BUCKET = 50  # batches among which texts are sorted by length


def train(
    classifier: Classifier,
    mask: Mask,
    training: tuple[Inputs, Tensor],
    validation: tuple[Inputs, Tensor] | None,
    settings: Finetune,
    seed: int,
    checkpoint: Checkpoint | None = None,
) -> list[dict[str, Any]]:
    """Train `classifier` in place and leave it with the weights of its best epoch; returns one record an epoch.

    `training` and `validation` are inputs with their targets, int64 [texts]. The best epoch has the lowest validation loss;
    without validation it is the last one.
    """
    inputs, targets = training
    weights = class_weights(targets, len(classifier.labels)).to(inputs.device) if settings.class_weights == "balanced" else None
    epochs = epochs_of(settings, len(inputs))
    total = epochs * math.ceil(len(inputs) / settings.batch)
    with attached(classifier.encoder, mask) as sparse:
        trained = dict(_trained(classifier, sparse))
        optimizer = _optimizer(trained, settings)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, total, settings.warmup))
        history: list[dict[str, Any]] = []
        best: dict[str, Tensor] = {}
        if checkpoint and (found := checkpoint.load(optimizer)):
            tensors, facts = found
            history = facts["history"]
            best = {name.removeprefix("best."): tensor for name, tensor in tensors.items() if name.startswith("best.")}
            _restore(trained, sparse, {name: tensors[name] for name in trained})
            scheduler.load_state_dict(facts["scheduler"])
            # Loading sets the schedule's place, not the rates that belong to it.
            for group, now in zip(optimizer.param_groups, scheduler.get_last_lr(), strict=True):
                group["lr"] = now
        for epoch in range(len(history), epochs):
            if _stalled(history, settings.patience):
                break
            torch.manual_seed(seed * 1_000_003 + epoch)
            classifier.train()
            losses = 0.0
            order = batches(inputs.lengths, settings.batch, seed * 1_000_003 + epoch)
            for indices in tqdm(order, desc=f"epoch {epoch + 1} of {epochs}", unit="step", leave=False, disable=None):
                with torch.autocast(inputs.device.type, torch.bfloat16, enabled=inputs.device.type == "cuda"):
                    logits = inputs.batch(indices).logits(classifier)
                loss = F.cross_entropy(logits.float(), targets[indices].to(inputs.device), weights)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                scheduler.step()
                for module in sparse.values():
                    module.write()
                losses += loss.item() * len(indices)
            record: dict[str, Any] = {"epoch": epoch + 1, "train_loss": losses / len(inputs)}
            if validation:
                found_logits = logits_of(classifier, validation[0])
                record["validation_loss"] = F.cross_entropy(found_logits, validation[1]).item()
                record["validation_accuracy"] = (found_logits.argmax(1) == validation[1]).float().mean().item()
            history.append(record)
            figures = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in record.items() if name != "epoch")
            log.info("  epoch %d of %d: %s", epoch + 1, epochs, figures)
            if _best(history) == epoch:
                best = {name: parameter.detach().clone() for name, parameter in trained.items()}
            if checkpoint:
                tensors = dict(trained) | {f"best.{name}": tensor for name, tensor in best.items()}
                schedule = {key: value for key, value in scheduler.state_dict().items() if key != "lr_lambdas"}
                checkpoint.save(tensors, optimizer, {"history": history, "scheduler": schedule | {"lr_lambdas": [None, None]}})
        _restore(trained, sparse, best)
    classifier.eval()
    return history


def use_threads(threads: int) -> None:
    """Let torch compute on `threads` CPU threads; 0: all cores this process may use."""
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))


def epochs_of(settings: Finetune, texts: int) -> int:
    """Passes over `texts` texts: as many as `settings.epochs` and `settings.steps` both allow, at least one."""
    return max(1, min(settings.epochs, math.ceil(settings.steps / math.ceil(texts / settings.batch))))


def batches(lengths: Sequence[int], size: int, seed: int) -> list[list[int]]:
    """All indices in shuffled batches of `size` texts of similar length."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(lengths), generator=generator).tolist()
    chunks = []
    for first in range(0, len(order), size * BUCKET):
        bucket = sorted(order[first : first + size * BUCKET], key=lengths.__getitem__)
        chunks += [bucket[i : i + size] for i in range(0, len(bucket), size)]
    return [chunks[i] for i in torch.randperm(len(chunks), generator=generator).tolist()]


def rate(step: int, total: int, warmup: float) -> float:
    """The share of the learning rate at `step` of `total`: a linear rise over the first `warmup`, then a linear fall to 0."""
    rise = max(1, round(total * warmup))
    return (step + 1) / rise if step < rise else max(0.0, (total - step) / max(1, total - rise))


def class_weights(targets: Tensor, classes: int) -> Tensor:
    """Loss weights float32 [classes], inverse to the classes' frequency and 1 on average over the texts."""
    counts = torch.bincount(targets, minlength=classes)
    return len(targets) / (int((counts > 0).sum()) * counts.clamp(min=1).float())


@torch.inference_mode()
def logits_of(classifier: Classifier, inputs: Inputs) -> Tensor:
    """Logits float32 [texts, classes] on the CPU, in evaluation mode."""
    classifier.eval()
    found = torch.empty(len(inputs), len(classifier.labels))
    for indices in by_length(inputs.lengths):
        found[indices] = inputs.batch(indices).logits(classifier).float().cpu()
    return found


def _trained(classifier: Classifier, sparse: dict[str, Any]) -> Iterator[tuple[str, nn.Parameter]]:
    for name, module in sparse.items():
        for kind, parameter in module.named_parameters():
            yield f"{name}.{kind}", parameter
    for kind, parameter in classifier.head.named_parameters():
        yield f"head.{kind}", parameter


def _optimizer(trained: dict[str, nn.Parameter], settings: Finetune) -> torch.optim.Optimizer:
    head = [parameter for name, parameter in trained.items() if name.startswith("head.")]
    masked = [parameter for name, parameter in trained.items() if not name.startswith("head.")]
    groups = [{"params": masked, "lr": settings.learning_rate}, {"params": head, "lr": settings.head_learning_rate}]
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)


@torch.no_grad()
def _restore(trained: dict[str, nn.Parameter], sparse: dict[str, Any], values: dict[str, Tensor]) -> None:
    for name, parameter in trained.items():
        parameter.copy_(values[name])
    for module in sparse.values():
        module.write()


def _best(history: list[dict[str, Any]]) -> int:
    if "validation_loss" not in history[-1]:
        return len(history) - 1
    return min(range(len(history)), key=lambda i: history[i]["validation_loss"])


def _stalled(history: list[dict[str, Any]], patience: int) -> bool:
    return bool(history) and len(history) - 1 - _best(history) >= patience
