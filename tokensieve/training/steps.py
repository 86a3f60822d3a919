"""The steps of the training loop: one batch at a time, forward, backward and AdamW.

If several processes train together, each computes a share of every batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tokensieve import distributed
from tokensieve.bars import Bar
from tokensieve.model.batches import Batch, Inputs
from tokensieve.model.classifier import Classifier
from tokensieve.settings import Finetune
from tokensieve.training.epochs import batch_size, shuffled_batches
from tokensieve.training.losses import class_weights, mean_loss
from tokensieve.training.schedule import Pair, learning_rate_factor


@dataclass(frozen=True)
class Steps:
    """The optimizer steps of all epochs. `weights` [classes] are the loss weights."""

    classifier: Classifier
    settings: Finetune
    optimizer: torch.optim.Optimizer
    targets: Tensor
    weights: Tensor | None
    write: Callable[[], None]

    @classmethod
    def of(
        cls,
        classifier: Classifier,
        trained: Mapping[str, nn.Parameter],
        training: Pair,
        settings: Finetune,
        write: Callable[[], None],
    ) -> Steps:
        """Return the steps that train the parameters `trained`, with a new optimizer."""
        inputs, targets = training
        weights = None
        if settings.class_weights == "balanced":
            weights = class_weights(targets, len(classifier.labels)).to(inputs.device)
        optimizer = _optimizer(trained, settings, multilabel=targets.dim() == 2)
        return cls(classifier, settings, optimizer, targets, weights, write)

    def run_epoch(
        self, epoch: int, epochs: int, inputs: Inputs, compute: Callable[[Batch], Tensor], seed: int
    ) -> float:
        """Train one epoch and return its mean loss per text."""
        # Each process has a dropout of its own. 1_009 is more than there are epochs.
        torch.manual_seed(seed * 1_000_003 + epoch + distributed.rank() * 1_009)
        self.classifier.train()
        total = 0.0
        size = batch_size(self.settings, len(inputs))
        order = shuffled_batches(inputs.lengths, size, seed * 1_000_003 + epoch)
        for step, indices in enumerate(_progress(order, f"epoch {epoch + 1} of {epochs}")):
            self._set_learning_rates(epoch * len(order) + step, epochs * len(order))
            total += self._step(inputs, indices, compute) * len(indices)
        summed = distributed.sum_over_processes(torch.tensor(total, dtype=torch.float64))
        return float(summed) / distributed.world_size() / len(inputs)

    def _step(self, inputs: Inputs, indices: list[int], compute: Callable[[Batch], Tensor]) -> float:
        """Update the parameters by one batch and return its loss."""
        share, factor = _share_of_batch(indices, self.targets, self.weights)
        device = inputs.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = compute(inputs.batch(share))
        loss = mean_loss(logits.float(), self.targets[share].to(device), self.weights) * factor
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.write()
        return loss.item()

    def _set_learning_rates(self, step: int, steps: int) -> None:
        factor = learning_rate_factor(step, steps, self.settings.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["highest_lr"] * factor


def data_parallel(
    classifier: Classifier, trained: Mapping[str, nn.Parameter], inputs: Inputs
) -> Callable[[Batch], Tensor]:
    """Return a function from a batch to its logits, with gradients averaged over all processes."""

    def compute(batch: Batch) -> Tensor:
        return batch.logits(classifier)

    if distributed.world_size() == 1:
        return compute
    # The processes wait for the gradient of each parameter in the list. Parameters of layers below
    # the batch's layer never get a gradient, so they must not be in it.
    logits = compute(inputs.batch([0])).sum()
    gradients = torch.autograd.grad(logits, list(trained.values()), allow_unused=True)
    pairs = zip(trained.values(), gradients, strict=True)
    return distributed.data_parallel(compute, [parameter for parameter, found in pairs if found is not None])


def _share_of_batch(indices: list[int], targets: Tensor, weights: Tensor | None) -> tuple[list[int], float]:
    """Return this process's share of a batch, and a factor on its mean loss.

    With this factor, the mean over the processes is the mean loss of the batch. All processes must
    compute in every step. So if there are fewer texts than processes, the share of some processes
    is any text with the factor 0.
    """
    mine = list(distributed.shard(indices))

    def weight(texts: list[int]) -> float:
        if weights is None or targets.dim() == 2:
            return len(texts)
        return float(weights.cpu()[targets[texts]].double().sum())

    return mine or indices[:1], distributed.world_size() * weight(mine) / weight(indices)


def _progress(order: list[list[int]], name: str) -> Iterable[list[int]]:
    # Later epochs may train more layers and take longer, so no estimate of the training.
    return Bar(order, name, "step", hidden=distributed.rank() > 0, left_in="this epoch")


def _optimizer(
    trained: Mapping[str, nn.Parameter], settings: Finetune, multilabel: bool
) -> torch.optim.Optimizer:
    # For multi-label data, a logit must cross a threshold. This needs larger steps than to exceed
    # the other logits of the text.
    head_rate = settings.multilabel_head_learning_rate if multilabel else settings.head_learning_rate
    head = [parameter for name, parameter in trained.items() if name.startswith("head.")]
    masked = [parameter for name, parameter in trained.items() if not name.startswith("head.")]
    groups = [
        {"params": parameters, "lr": rate, "highest_lr": rate}
        for parameters, rate in ((masked, settings.learning_rate), (head, head_rate))
    ]
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)
