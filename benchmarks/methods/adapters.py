"""Adapters of the library peft.

If possible, they are merged after training, so that the plain model is tested.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from peft import (
    LoraConfig,
    MissConfig,
    PeftConfig,
    PrefixTuningConfig,
    RoadConfig,
    ShiraConfig,
    get_peft_model,
)

from benchmarks.methods.dense import trained
from benchmarks.training.method_api import Job, Outcome
from tokensieve.model.encoder import encoder_linears

TASK = "FEATURE_EXTRACTION"


def lora(job: Job) -> Outcome:
    """Train low-rank updates of all linear layers (Hu et al. 2022)."""
    rank, alpha = job.options["rank"], job.options["alpha"]
    return _adapted(
        job, lambda linears: LoraConfig(r=rank, lora_alpha=alpha, target_modules=linears, task_type=TASK)
    )


def shira(job: Job) -> Outcome:
    """Train as many random entries of the linear layers as LoRA has (Bhardwaj et al. 2024)."""
    rank, seed = job.options["rank"], job.seed
    # peft builds a sparse tensor in each step. Without a decision on checking it, torch warns.
    torch.sparse.check_sparse_tensor_invariants.disable()
    return _adapted(
        job, lambda linears: ShiraConfig(r=rank, random_seed=seed, target_modules=linears, task_type=TASK)
    )


def miss(job: Job) -> Outcome:
    """Train one matrix per linear layer that is shared by shards of its rows (MiSS, Kang and Yin
    2024).
    """
    rank = job.options["rank"]
    return _adapted(job, lambda linears: MissConfig(r=rank, target_modules=linears, task_type=TASK))


def road(job: Job) -> Outcome:
    """Train rotations and scales of pairs of outputs of the linear layers (RoAd, Liao and Monz
    2024).
    """
    variant, group = job.options["variant"], job.options["group"]
    return _adapted(
        job,
        lambda linears: RoadConfig(variant=variant, group_size=group, target_modules=linears, task_type=TASK),
    )


def prefix(job: Job) -> Outcome:
    """Train keys and values before those of the text, in every layer (Li and Liang 2021)."""
    return _adapted(
        job, lambda _: PrefixTuningConfig(num_virtual_tokens=job.options["tokens"], task_type=TASK)
    )


def _adapted(job: Job, config: Callable[[list[str]], PeftConfig]) -> Outcome:
    classifier = job.classifier()
    with job.clock.phase("load"), warnings.catch_warnings():
        # peft uses a name that the next major version of transformers removes.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        adapted: Any = get_peft_model(classifier.encoder, config(list(encoder_linears(classifier.encoder))))
        classifier.encoder = adapted
        classifier.to(job.device)
    outcome = trained(job, classifier)
    if not adapted.active_peft_config.is_prompt_learning:
        classifier.encoder = adapted.merge_and_unload()
    return outcome
