"""The one training loop of the methods that the library does not train: `tokensieve.training.train` for any set of parameters.

Batches, schedule, optimizer and early stopping are the library's own; a test holds the two loops to the same losses.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from tokensieve.classifier import Classifier
from tokensieve.inputs import Inputs
from tokensieve.settings import Finetune
from tokensieve.training import batches, epochs_of, logits_of, rate

Pair = tuple[Inputs, Tensor]


def fit(classifier: Classifier, training: Pair, validation: Pair | None, settings: Finetune, seed: int) -> list[dict[str, Any]]:
    """Train, in place, every parameter that requires a gradient; one record an epoch.

    With validation, the weights of the epoch with its lowest loss are kept, and training stops when it no longer falls.
    """
    inputs, targets = training
    trained = {name: parameter for name, parameter in classifier.named_parameters() if parameter.requires_grad}
    epochs = epochs_of(settings, len(inputs))
    total = epochs * math.ceil(len(inputs) / settings.batch)
    head = [parameter for name, parameter in trained.items() if name.startswith("head.")]
    body = [parameter for name, parameter in trained.items() if not name.startswith("head.")]
    groups = [{"params": body, "lr": settings.learning_rate}, {"params": head, "lr": settings.head_learning_rate}]
    optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, total, settings.warmup))
    history: list[dict[str, Any]] = []
    best: dict[str, Tensor] = {}
    lowest = 0
    for epoch in range(epochs):
        if validation and len(history) - 1 - lowest >= settings.patience:
            break
        torch.manual_seed(seed * 1_000_003 + epoch)
        classifier.train()
        losses = 0.0
        order = batches(inputs.lengths, settings.batch, seed * 1_000_003 + epoch)
        for indices in tqdm(order, desc=f"epoch {epoch + 1} of {epochs}", unit="step", leave=False, disable=None):
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=inputs.device.type == "cuda"):
                logits = inputs.batch(indices).logits(classifier)
            loss = F.cross_entropy(logits.float(), targets[indices].to(inputs.device))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            scheduler.step()
            losses += loss.item() * len(indices)
        history.append({"epoch": epoch + 1, "train_loss": losses / len(inputs)})
        if validation:
            history[-1] |= _validated(classifier, validation)
            if history[-1]["validation_loss"] < history[lowest]["validation_loss"] or epoch == 0:
                lowest = epoch
                best = {name: parameter.detach().clone() for name, parameter in trained.items()}
    with torch.no_grad():
        for name, kept in best.items():
            trained[name].copy_(kept)
    classifier.eval()
    return history


def _validated(classifier: Classifier, validation: Pair) -> dict[str, float]:
    logits = logits_of(classifier, validation[0])
    return {
        "validation_loss": F.cross_entropy(logits, validation[1]).item(),
        "validation_accuracy": (logits.argmax(1) == validation[1]).float().mean().item(),
    }
