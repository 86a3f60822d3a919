"""Stage mask: the weights that the constructs' positions are most sensitive to, under the budget."""

from __future__ import annotations

from typing import Any

import torch

from tasks.split import load_labels, load_part
from tasks.vocabulary import base_folder
from tokensieve.data.labels import encode_targets
from tokensieve.evaluation.plots import mask_picture
from tokensieve.files import atomic_folder, read_json, write_json
from tokensieve.method.mask import Mask, unit_count
from tokensieve.method.select import (
    count_masked_parameters,
    first_top_layer,
    first_trainable_layer,
    scoring_sample,
    select_mask,
)
from tokensieve.method.vocabulary import added_token_ids
from tokensieve.model.batches import Inputs, construct_positions, states_key
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_layers, encoder_linears, load_tokenizer, weights_hash
from tokensieve.model.encoder_check import check_base
from tokensieve.project import Layout
from tokensieve.settings import Settings
from tokensieve.training.device import choose_device
from tokensieve.training.loop import set_threads


def mask(layout: Layout, settings: Settings) -> None:
    """Score, select, and write the mask, its picture and its numbers."""
    set_threads(settings.finetune.threads)
    # Validation has checked it, unless the project's own dvc.yaml is older than that and calls validation unchanged.
    check_base(base_folder(layout, settings), settings)
    classifier = new_classifier(layout, settings)
    train = load_part(layout, "train")
    wanted = encode_targets(train.labels, classifier.labels, settings.data.label_separator)
    first = first_trainable_layer(classifier, settings.schedule)
    inputs = frozen_inputs(
        layout, settings, classifier, "train", first, weights_hash(base_folder(layout, settings))
    )
    positions = None
    if settings.mask.score == "construct_fisher":
        constructs = [construct["text"] for construct in read_json(layout.vocabulary / "constructs.json")]
        tokenizer = load_tokenizer(layout.vocabulary / "tokenizer")
        texts = {i: train.texts[i] for i in scoring_sample(len(train), settings.mask, settings.data.seed)}
        read = settings.base.max_length, settings.base.truncation
        positions = construct_positions(tokenizer, texts, constructs, settings.vocabulary.max_words, *read)
    added = added_token_ids(layout.vocabulary / "tokenizer")
    choice = select_mask(
        classifier, inputs, wanted, positions, settings.mask, settings.schedule, settings.data.seed, added
    )
    selected = choice.mask
    sizes = {
        name: unit_count(linear.weight, selected.shape)
        for name, linear in encoder_linears(classifier.encoder, first).items()
    }
    none = torch.empty(0, dtype=torch.int64)
    with atomic_folder(layout.mask) as folder:
        selected.save(folder / "mask.safetensors")
        places = {name: (selected.indices.get(name, none).numpy(), size) for name, size in sizes.items()}
        mask_picture(places, selected.shape, folder / "mask.png")
        errors = {layer: round(float(wrong.mean()), 4) for layer, wrong in choice.errors.items()}
        facts = {"probe_errors": errors, "distant": choice.distant}
        write_json(folder / "report.json", _report(selected, sizes, classifier, settings) | facts)


def new_classifier(layout: Layout, settings: Settings) -> Classifier:
    """The untrained classifier of this project, on the device it will be trained on."""
    labels = read_json(layout.split / "labels.json")
    classifier = Classifier.new(
        base_folder(layout, settings),
        layout.vocabulary / "tokenizer",
        settings.base.pooling,
        labels,
        settings.data.seed,
    )
    classifier.encoder.requires_grad_(False)
    if settings.data.label_separator is not None:
        classifier.init_head_bias_from_priors(
            encode_targets(load_labels(layout, "train"), labels, settings.data.label_separator)
        )
    return classifier.to(choose_device(settings.finetune.device))


def frozen_inputs(
    layout: Layout, settings: Settings, classifier: Classifier, part: str, cut: int, base: str
) -> Inputs:
    """The part's texts, streamed, with the states below `cut` computed once, or found from an earlier stage or run of base hash `base`."""
    folder = layout.vocabulary / "tokenizer"
    device = next(classifier.parameters()).device
    path, tokenizer = layout.split / f"{part}.jsonl", load_tokenizer(folder)
    inputs = Inputs.streamed(
        path,
        tokenizer,
        settings.base.max_length,
        layout.prefix,
        device=device,
        truncation=settings.base.truncation,
    )
    pieces = (folder / "pieces.json").read_text(encoding="utf-8")
    return inputs.freeze(classifier, cut, layout.prefix, states_key(inputs, cut, base, pieces))


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
        "trained_tokens": len(selected.tokens),
        "trained_parameters": count_masked_parameters(classifier, selected)
        + sum(p.numel() for p in classifier.head.parameters()),
        "total_parameters": sum(parameter.numel() for parameter in classifier.parameters()),
    }
