"""Stage mask: score the weights at construct tokens, and select a mask under the budget."""

from __future__ import annotations

from typing import Any

import torch

from tasks.artifacts import MaskFacts, load_class_names, load_constructs
from tasks.split import load_labels, load_part
from tasks.vocabulary import base_folder
from tokensieve.data.labels import encode_targets
from tokensieve.evaluation.mask_plot import mask_picture
from tokensieve.files import atomic_folder, write_json
from tokensieve.fitting import new_classifier, select_weights
from tokensieve.method.mask import Mask, unit_count
from tokensieve.method.select import count_masked_parameters, first_top_layer, first_trainable_layer
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import PIECES, encoder_layers, encoder_linears, load_tokenizer, weights_hash
from tokensieve.model.encoder_check import check_base
from tokensieve.model.state_cache import cache_states, states_key, tokenize_file
from tokensieve.project import Layout
from tokensieve.settings import Settings
from tokensieve.training.loop import set_threads
from tokensieve.training.schedule import Pair


def mask(layout: Layout, settings: Settings) -> None:
    """Write the mask, its picture and its report.

    Raises:
        InputError: If the base model or the budget does not suit the settings.
    """
    set_threads(settings.finetune.threads)
    # The stage validate does this too, but not in projects with a dvc.yaml of an earlier version.
    check_base(base_folder(layout, settings), settings)
    classifier = untrained_classifier(layout, settings)
    training = load_training_pair(layout, settings, classifier, "train")
    constructs = [construct.text for construct in load_constructs(layout.vocabulary)]
    texts, tokenizer = load_part(layout, "train").texts, layout.vocabulary / "tokenizer"
    selection = select_weights(classifier, training, texts, constructs, tokenizer, settings)
    selected, first = selection.mask, first_trainable_layer(classifier, settings.schedule)
    sizes = {
        name: unit_count(linear.weight, selected.shape)
        for name, linear in encoder_linears(classifier.encoder, first).items()
    }
    none = torch.empty(0, dtype=torch.int64)
    with atomic_folder(layout.mask) as folder:
        selected.save(folder / "mask.safetensors")
        indices = {name: (selected.indices.get(name, none).numpy(), size) for name, size in sizes.items()}
        mask_picture(indices, selected.shape, folder / "mask.png")
        errors = {layer: round(float(wrong.mean()), 4) for layer, wrong in selection.probe_errors.items()}
        report = _report(selected, sizes, classifier, settings)
        write_json(folder / "report.json", report | {"probe_errors": errors, "is_far": selection.is_far})
        facts = MaskFacts(selection.is_far, report["trained_parameters"], report["total_parameters"])
        facts.save(folder)


def untrained_classifier(layout: Layout, settings: Settings) -> Classifier:
    """Return the untrained classifier of this project, on the device that trains it."""
    labels = load_class_names(layout.split)
    train_labels, multi_label = load_labels(layout, "train")
    targets = encode_targets(train_labels, labels, multi_label)
    base, tokenizer = base_folder(layout, settings), layout.vocabulary / "tokenizer"
    return new_classifier(base, tokenizer, labels, targets, settings)


def load_training_pair(layout: Layout, settings: Settings, classifier: Classifier, part: str) -> Pair:
    """Return the inputs and targets of a part.

    The states of the frozen layers are cached on disk, also for later runs.
    """
    base, tokenizer = base_folder(layout, settings), layout.vocabulary / "tokenizer"
    inputs = tokenize_file(
        layout.split / f"{part}.jsonl",
        load_tokenizer(tokenizer),
        settings.base.max_length,
        layout.prefix,
        device=next(classifier.parameters()).device,
        truncation=settings.base.truncation,
    )
    first = first_trainable_layer(classifier, settings.schedule)
    pieces = (tokenizer / PIECES).read_text(encoding="utf-8")
    key = states_key(inputs, first, weights_hash(base), pieces)
    labels, multi_label = load_labels(layout, part)
    targets = encode_targets(labels, classifier.labels, multi_label)
    return cache_states(inputs, classifier, first, layout.prefix, key), targets


def _report(
    selected: Mask, sizes: dict[str, int], classifier: Classifier, settings: Settings
) -> dict[str, Any]:
    first, cut = (
        first_trainable_layer(classifier, settings.schedule),
        first_top_layer(classifier, settings.schedule),
    )
    names = {id(module): name for name, module in classifier.encoder.named_modules()}
    layers = []
    for i, layer in list(enumerate(encoder_layers(classifier.encoder)))[first:]:
        inside = [name for name in sizes if name.startswith(f"{names[id(layer)]}.")]
        chosen = sum(len(selected.indices.get(name, ())) for name in inside)
        layers.append({"layer": i, "selected": chosen, "of": sum(sizes[name] for name in inside)})
    return {
        "shape": settings.mask.unit,
        "unit": selected.shape,
        "score": settings.mask.score,
        "budget": settings.mask.budget,
        "cut": cut,
        "layers": layers,
        "modules": {name: [len(selected.indices.get(name, ())), of] for name, of in sizes.items()},
        "trained_tokens": len(selected.tokens),
        "trained_parameters": count_masked_parameters(classifier, selected)
        + sum(p.numel() for p in classifier.head.parameters()),
        "total_parameters": sum(parameter.numel() for parameter in classifier.parameters()),
    }
