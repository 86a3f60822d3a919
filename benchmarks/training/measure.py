"""Run and measure one cell in this process. The cost includes everything except the test pass."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.methods import METHODS, function_of, method_of
from benchmarks.timing import Clock, commit, machine, peak_mib
from benchmarks.training import results
from benchmarks.training.experiment import Cell, Setup, facts_of, key_of, settings_of
from benchmarks.training.method_api import Job
from benchmarks.training.scores import figures
from benchmarks.training.tasks import Sample, draw
from tokensieve.errors import InputError
from tokensieve.model.encoder import find_base_model
from tokensieve.model.products import fast_products
from tokensieve.training.loop import set_threads


@fast_products()  # also of methods that do not train by `train_parameters`
def measure(cell: Cell, setup: Setup) -> dict[str, Any]:
    """Return the record of a cell: scores, costs, trained parameters and machine.

    Raises:
        InputError: If a GPU is requested and PyTorch finds none.
    """
    if setup.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no GPU; leave it out to compute on the CPU")
    set_threads(setup.threads)
    # The package tokenizers has threads of its own, which torch does not limit.
    os.environ["TOKENIZERS_PARALLELISM"] = "false" if setup.threads == 1 else "true"
    method, _ = method_of(cell.method)
    run = function_of(method)
    sample = draw(setup.data, cell.task, cell.shots, cell.seed, cell.held_out)
    clock = Clock(setup.device)
    job = Job(
        sample,
        settings_of(cell, setup),
        METHODS[method].options,
        find_base_model(setup.base),
        setup.device,
        clock,
    )
    if METHODS[method].reads:
        _warm(job)
    with clock.phase("total"):
        outcome = run(job)
    peak = peak_mib()
    with clock.phase("test"):
        scores = outcome.predict(sample.test.texts)
    facts = facts_of(cell, setup)
    return facts | {
        "key": key_of(facts),
        **figures(scores, sample.targets(sample.test).numpy()),
        **_times(clock),
        "peak_mib": peak,
        "trained_parameters": outcome.trained,
        "steps": outcome.steps,
        "history": outcome.history,
        "notes": outcome.notes,
        "texts": _sizes(sample),
        "machine": machine(setup.device),
        "commit": commit(),
    }


def _times(clock: Clock) -> dict[str, Any]:
    phases = clock.rounded()
    total = phases.pop("total")
    return {"wall_seconds": total["wall"], "cpu_seconds": total["cpu"], "phases": phases}


def _sizes(sample: Sample) -> dict[str, int]:
    return {
        "train": len(sample.train),
        "validation": len(sample.validation or ()),
        "test": len(sample.test),
        "classes": len(sample.labels),
    }


def measure_to(cell: Cell, setup: Setup, path: Path) -> None:
    """Append the cell's record to the results in `path`."""
    results.append(path, {"cell": cell.name, **measure(cell, setup)})


def _warm(job: Job) -> None:
    """Do the work that occurs once per process, before the clock starts.

    This is importing, reading weights and starting the GPU.
    """
    warm = replace(job, clock=Clock(job.device))
    classifier = warm.classifier()
    # Only the head gets gradients, so that this does not determine the peak memory of the method.
    classifier.encoder.requires_grad_(False)
    batch = warm.inputs(job.sample.train.take([0]), classifier).batch([0])
    batch.logits(classifier).sum().backward()
    if job.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
