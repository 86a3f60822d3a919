"""Stage finetune: the masked weights and the head trained, and the model written as a Hugging Face folder."""

from __future__ import annotations

import hashlib
import json

import torch

from tasks.masking import frozen_inputs, new_classifier
from tasks.splitting import load_part
from tasks.vocabulary import base_folder
from tokensieve.base import load_tokenizer, weights_hash
from tokensieve.checkpoint import Checkpoint
from tokensieve.folder import read_json, replaced, write_json
from tokensieve.inputs import forget
from tokensieve.layout import Layout
from tokensieve.manifest import sha256
from tokensieve.mask import Mask
from tokensieve.plots import history_picture
from tokensieve.settings import Settings
from tokensieve.training import train, use_threads


def finetune(layout: Layout, settings: Settings) -> None:
    """Train, from a checkpoint if one of the same training is there, and write model, history and numbers."""
    use_threads(settings.finetune.threads)
    classifier = new_classifier(layout, settings)
    mask = Mask.load(layout.mask / "mask.safetensors")
    cut = read_json(layout.mask / "report.json")["cut"]
    base = weights_hash(base_folder(layout, settings))
    checkpoint = Checkpoint(layout.checkpoint, _key(layout, settings, base))
    parts = {}
    for name in ("train", "validation"):
        examples = load_part(layout, name)
        targets = torch.tensor([classifier.labels.index(label) for label in examples.labels])
        parts[name] = frozen_inputs(layout, settings, classifier, examples, cut, base), targets
    forget(layout.prefix, {inputs.key for inputs, _ in parts.values()})
    history = train(classifier, mask, parts["train"], parts["validation"], settings.finetune, settings.data.seed, checkpoint)
    with replaced(layout.model) as folder:
        facts = {"max_length": settings.base.max_length, "base": settings.base.model, "base_hash": base}
        classifier.cpu().save(folder, load_tokenizer(layout.vocabulary / "tokenizer"), facts)
        (folder / "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in history), encoding="utf-8")
        best = min(history, key=lambda record: record["validation_loss"])
        write_json(folder / "report.json", {"epochs": len(history), "best_epoch": best["epoch"], "device": parts["train"][0].device.type})
        history_picture(history, folder / "history.png")
    checkpoint.clear()


def _key(layout: Layout, settings: Settings, base: str) -> str:
    """A hash of all that decides the course of this training."""
    files = [
        *sorted(layout.split.glob("*.jsonl")),
        layout.vocabulary / "tokenizer" / "tokenizer.json",
        layout.mask / "mask.safetensors",
    ]
    parts = [
        repr(settings.finetune),
        repr(settings.base),
        base,
        str(settings.data.seed),
        torch.__version__,
        *(sha256(path) for path in files),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
