"""Stage finetune: train the masked weights and the head, and write a Hugging Face folder.

torchrun starts `python -m tasks.finetune PROJECT` as each of the processes that train together.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

import torch

from tasks.artifacts import MaskFacts, TrainingFacts
from tasks.mask import load_training_pair, untrained_classifier
from tasks.tracking import provenance
from tasks.vocabulary import base_folder
from tokensieve import distributed
from tokensieve.evaluation.plots import history_picture
from tokensieve.files import atomic_folder, sha256, write_json
from tokensieve.fitting import plan
from tokensieve.method.mask import Mask
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import load_tokenizer, weights_hash
from tokensieve.model.state_cache import delete_other_states
from tokensieve.project import Layout
from tokensieve.settings import Settings
from tokensieve.training.checkpoint import Checkpoint
from tokensieve.training.device import choose_device
from tokensieve.training.loop import set_threads, train_masked
from tokensieve.truncation import HEAD


def finetune(layout: Layout, settings: Settings) -> None:
    """Train in `finetune.processes` processes, and write the model, its history and its report.

    Raises:
        InputError: If the device does not suit the settings, or the disk has no room for cached
            states.
    """
    if settings.finetune.processes > 1:
        gpu = choose_device(settings.finetune.device) == "cuda"
        distributed.launch(settings.finetune.processes, "tasks.finetune", str(layout.root), gpu=gpu)
    else:
        _finetune(layout, settings)


def _finetune(layout: Layout, settings: Settings) -> None:
    """Train, continuing from a checkpoint of the same training if there is one.

    The first process writes the model.
    """
    set_threads(settings.finetune.threads)
    classifier = untrained_classifier(layout, settings)
    mask = Mask.load(layout.mask / "mask.safetensors")
    base = weights_hash(base_folder(layout, settings))
    checkpoint = Checkpoint(layout.checkpoint, _key(layout, settings, base))
    training, validation = (
        load_training_pair(layout, settings, classifier, part) for part in ("train", "validation")
    )
    is_far = MaskFacts.load(layout.mask).is_far
    schedule = plan(classifier, training, is_far, settings, layout.prefix, checkpoint.key)
    seed = settings.data.seed
    history = train_masked(
        classifier, mask, training, validation, settings.finetune, seed, schedule, checkpoint
    )
    if distributed.rank() == 0:
        delete_other_states(layout.prefix, {*training[0].keys, *validation[0].keys})
        facts = TrainingFacts(tuple(schedule.phase(epoch) for epoch in range(len(history))))
        _write_model(layout, settings, classifier, base, history, facts)
        checkpoint.clear()


def _write_model(
    layout: Layout,
    settings: Settings,
    classifier: Classifier,
    base: str,
    history: list[dict[str, Any]],
    facts: TrainingFacts,
) -> None:
    """Write the Hugging Face model folder, and files about the training."""
    device = next(classifier.parameters()).device
    metadata = {"max_length": settings.base.max_length, "base": settings.base.model, "base_hash": base}
    if settings.base.truncation != HEAD:
        metadata["truncation"] = settings.base.truncation
    best = min(history, key=lambda record: record["validation_loss"])
    report = {"epochs": len(history), "best_epoch": best["epoch"], "device": device.type}
    with atomic_folder(layout.model) as folder:
        classifier.cpu().save(folder, load_tokenizer(layout.vocabulary / "tokenizer"), metadata)
        lines = "".join(json.dumps(record) + "\n" for record in history)
        (folder / "history.jsonl").write_text(lines, encoding="utf-8")
        write_json(folder / "report.json", report)
        facts.save(folder)
        write_json(folder / provenance.NAME, provenance.environment(_device_name(device)))
        history_picture(history, folder / "history.png")


def _device_name(device: torch.device) -> str:
    return f"{device.type} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def _key(layout: Layout, settings: Settings, base: str) -> str:
    """Return a hash of everything that decides the course of this training."""
    files = [
        *sorted(layout.split.glob("*.jsonl")),
        layout.vocabulary / "tokenizer" / "tokenizer.json",
        layout.mask / "mask.safetensors",
    ]
    parts = [
        "calibrated validation loss",
        repr(settings.finetune),
        repr(settings.mask),
        repr(settings.schedule),
        repr(settings.base),
        base,
        str(settings.data.seed),
        str(settings.data.label_separator),
        str(distributed.world_size()),
        torch.__version__,
        *(sha256(path) for path in files),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def main() -> None:
    """Train the project on the command line, as one of the processes that torchrun starts."""
    with distributed.worker():
        if distributed.rank() == 0:
            logging.basicConfig(level=logging.WARNING, format="%(message)s")
            logging.getLogger("tokensieve").setLevel(logging.INFO)
        layout = Layout(Path(sys.argv[1]).resolve())
        _finetune(layout, Settings.load(layout.params))


if __name__ == "__main__":
    main()
