"""Stage finetune: the masked weights and the head trained, and the model written as a Hugging Face folder.

As a program, `python -m tasks.finetune PROJECT` is one of the processes that train together; torchrun starts it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from pathlib import Path

import torch

from tasks import provenance
from tasks.mask import frozen_inputs, new_classifier
from tasks.split import load_labels
from tasks.vocabulary import base_folder
from tokensieve import distributed
from tokensieve.data.labels import encode_targets
from tokensieve.evaluation.plots import history_picture
from tokensieve.files import atomic_folder, read_json, sha256, write_json
from tokensieve.method.mask import Mask
from tokensieve.method.select import all_layer_epochs, first_top_layer, first_trainable_layer
from tokensieve.model.batches import delete_other_states
from tokensieve.model.encoder import load_tokenizer, weights_hash
from tokensieve.project import Layout
from tokensieve.settings import Settings
from tokensieve.training.checkpoint import Checkpoint
from tokensieve.training.device import choose_device
from tokensieve.training.loop import Freezing, count_epochs, set_threads, train_masked
from tokensieve.truncation import HEAD


def finetune(layout: Layout, settings: Settings) -> None:
    """Train, in as many processes as the settings say, and write model, history and numbers."""
    if settings.finetune.processes > 1:
        gpu = choose_device(settings.finetune.device) == "cuda"
        distributed.launch(settings.finetune.processes, "tasks.finetune", str(layout.root), gpu=gpu)
    else:
        _finetune(layout, settings)


def _finetune(layout: Layout, settings: Settings) -> None:
    """Train, from a checkpoint if one of the same training is there; the first process writes."""
    set_threads(settings.finetune.threads)
    classifier = new_classifier(layout, settings)
    mask = Mask.load(layout.mask / "mask.safetensors")
    base = weights_hash(base_folder(layout, settings))
    checkpoint = Checkpoint(layout.checkpoint, _key(layout, settings, base))
    first = first_trainable_layer(classifier, settings.schedule)
    parts = {}
    for name in ("train", "validation"):
        wanted = encode_targets(load_labels(layout, name), classifier.labels, settings.data.label_separator)
        parts[name] = frozen_inputs(layout, settings, classifier, name, first, base), wanted
    epochs = count_epochs(settings.finetune, len(parts["train"][0]))
    throughout = (
        read_json(layout.mask / "report.json")["distant"] or settings.data.label_separator is not None
    )
    opened = all_layer_epochs(settings.schedule, epochs, throughout)
    freezing = Freezing(first_top_layer(classifier, settings.schedule), opened, layout.prefix, checkpoint.key)
    history = train_masked(
        classifier,
        mask,
        parts["train"],
        parts["validation"],
        settings.finetune,
        settings.data.seed,
        freezing,
        checkpoint,
    )
    if distributed.rank() > 0:
        return
    delete_other_states(layout.prefix, {key for inputs, _ in parts.values() for key in inputs.keys})
    with atomic_folder(layout.model) as folder:
        facts = {"max_length": settings.base.max_length, "base": settings.base.model, "base_hash": base}
        facts |= {} if settings.base.truncation == HEAD else {"truncation": settings.base.truncation}
        classifier.cpu().save(folder, load_tokenizer(layout.vocabulary / "tokenizer"), facts)
        (folder / "history.jsonl").write_text(
            "".join(json.dumps(record) + "\n" for record in history), encoding="utf-8"
        )
        best = min(history, key=lambda record: record["validation_loss"])
        write_json(
            folder / "report.json",
            {"epochs": len(history), "best_epoch": best["epoch"], "device": parts["train"][0].device.type},
        )
        write_json(folder / provenance.NAME, provenance.environment(_device_name(parts["train"][0].device)))
        history_picture(history, folder / "history.png")
    checkpoint.clear()


def _device_name(device: torch.device) -> str:
    return f"{device.type} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def _key(layout: Layout, settings: Settings, base: str) -> str:
    """A hash of all that decides the course of this training."""
    files = [
        *sorted(layout.split.glob("*.jsonl")),
        layout.vocabulary / "tokenizer" / "tokenizer.json",
        layout.mask / "mask.safetensors",
    ]
    parts = [
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
    """Train the project named on the command line, as one of the processes that torchrun starts."""
    with distributed.worker():
        if distributed.rank() == 0:
            logging.basicConfig(level=logging.WARNING, format="%(message)s")
            logging.getLogger("tokensieve").setLevel(logging.INFO)
        layout = Layout(Path(sys.argv[1]).resolve())
        _finetune(layout, Settings.load(layout.params))


if __name__ == "__main__":
    main()
