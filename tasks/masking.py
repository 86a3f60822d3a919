"""Stage mask: the weights that the constructs' positions are most sensitive to, under the budget."""

from __future__ import annotations

import random
from typing import Any

import torch

from tasks.splitting import load_part
from tokensieve import scores
from tokensieve.base import layers_of, linears_of, load_tokenizer, locate, weights_hash
from tokensieve.classifier import Classifier
from tokensieve.constructs import marked
from tokensieve.dataset import Examples
from tokensieve.folder import read_json, replaced, write_json
from tokensieve.inputs import Inputs, prefix_key, tokenized
from tokensieve.layout import Layout
from tokensieve.mask import Mask, select
from tokensieve.plots import mask_picture
from tokensieve.settings import Settings
from tokensieve.training import use_threads


def mask(layout: Layout, settings: Settings) -> None:
    """Score, select, and write the mask, its picture and its numbers."""
    use_threads(settings.finetune.threads)
    chosen = settings.mask
    classifier = new_classifier(layout, settings)
    train = load_part(layout, "train")
    targets = torch.tensor([classifier.labels.index(label) for label in train.labels])
    cut = round(chosen.frozen * len(layers_of(classifier.encoder)))
    linears = linears_of(classifier.encoder, cut)
    found = _scores(layout, settings, classifier, train, targets, cut)
    across = 1 if chosen.shape == "rows" else 0
    total = sum(linear.weight.numel() for linear in linears_of(classifier.encoder).values())
    selected = select(
        found, {name: linear.weight.shape[across] for name, linear in linears.items()}, int(chosen.budget * total), chosen.shape
    )
    with replaced(layout.mask) as folder:
        selected.save(folder / "mask.safetensors")
        sizes = {name: linear.weight.shape[1 - across] for name, linear in linears.items()}
        mask_picture(
            {name: (selected.indices.get(name, torch.empty(0)).tolist(), size) for name, size in sizes.items()}, folder / "mask.png"
        )
        write_json(folder / "report.json", _report(selected, classifier, cut, settings, total))


def new_classifier(layout: Layout, settings: Settings) -> Classifier:
    """The untrained classifier of this project, on the device it will be trained on."""
    labels = read_json(layout.split / "labels.json")
    classifier = Classifier.new(
        locate(settings.base.model), layout.vocabulary / "tokenizer", settings.base.pooling, labels, settings.data.seed
    )
    classifier.encoder.requires_grad_(False)
    return classifier.to("cuda" if torch.cuda.is_available() else "cpu")


def frozen_inputs(layout: Layout, settings: Settings, classifier: Classifier, part: Examples, cut: int) -> Inputs:
    """The part's texts with the states below `cut` computed once, or found from an earlier stage or run."""
    folder = layout.vocabulary / "tokenizer"
    device = next(classifier.parameters()).device
    inputs = Inputs(tokenized(load_tokenizer(folder), part.texts, settings.base.max_length), device)
    pieces = (folder / "pieces.json").read_text(encoding="utf-8")
    return inputs.freeze(classifier, cut, layout.prefix, prefix_key(inputs, cut, weights_hash(locate(settings.base.model)), pieces))


def _scores(
    layout: Layout, settings: Settings, classifier: Classifier, train: Examples, targets: torch.Tensor, cut: int
) -> dict[str, torch.Tensor]:
    chosen = settings.mask
    if chosen.score == "magnitude":
        return scores.magnitude(classifier, chosen.shape, cut)
    if chosen.score == "random":
        return scores.random(classifier, settings.data.seed, chosen.shape, cut)
    sample = sorted(random.Random(settings.data.seed).sample(range(len(train)), min(chosen.examples, len(train))))
    positions = _construct_positions(layout, settings, train) if chosen.score == "tokens" else None
    inputs = frozen_inputs(layout, settings, classifier, train, cut)
    return scores.fisher(classifier, inputs, targets, chosen.shape, positions, cut, sample)


def _construct_positions(layout: Layout, settings: Settings, part: Examples) -> list[list[bool]]:
    constructs = frozenset(construct["text"] for construct in read_json(layout.vocabulary / "constructs.json"))
    tokenizer = load_tokenizer(layout.vocabulary / "tokenizer")
    encoded = tokenizer(part.texts, truncation=True, max_length=settings.base.max_length, return_offsets_mapping=True)
    return [
        marked(text, offsets, constructs, settings.vocabulary.ngram)
        for text, offsets in zip(part.texts, encoded["offset_mapping"], strict=True)
    ]


def _report(selected: Mask, classifier: Classifier, cut: int, settings: Settings, total: int) -> dict[str, Any]:
    layers = layers_of(classifier.encoder)
    linears = linears_of(classifier.encoder, cut)
    names = {id(module): name for name, module in classifier.encoder.named_modules()}
    along, across = (0, 1) if selected.shape == "rows" else (1, 0)
    rows = []
    for i in range(cut, len(layers)):
        inside = {name: linear for name, linear in linears.items() if name.startswith(f"{names[id(layers[i])]}.")}
        rows.append(
            {
                "layer": i,
                "selected": sum(len(selected.indices.get(name, ())) for name in inside),
                "of": sum(linear.weight.shape[along] for linear in inside.values()),
            }
        )
    weights = sum(len(found) * linears[name].weight.shape[across] for name, found in selected.indices.items())
    biases = sum(len(found) for name, found in selected.indices.items() if linears[name].bias is not None and along == 0)
    head = sum(parameter.numel() for parameter in classifier.head.parameters())
    return {
        "shape": selected.shape,
        "score": settings.mask.score,
        "budget": settings.mask.budget,
        "cut": cut,
        "layers": rows,
        "masked_share": weights / total,
        "trained_parameters": weights + biases + head,
        "total_parameters": sum(parameter.numel() for parameter in classifier.parameters()),
    }
