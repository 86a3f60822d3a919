from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.loop import fit
from tokensieve.base import linears_of, load_tokenizer
from tokensieve.classifier import Classifier
from tokensieve.inputs import Inputs, tokenized
from tokensieve.mask import Mask
from tokensieve.settings import Finetune
from tokensieve.training import train

SETTINGS = Finetune(epochs=3, batch=16)
Pair = tuple[Inputs, torch.Tensor]


@pytest.fixture
def pair(tiny_texts: tuple[list[str], list[str]], tiny_model: Path) -> Pair:
    texts, labels = tiny_texts
    names = sorted(set(labels))
    return Inputs(tokenized(load_tokenizer(tiny_model), texts, 32)), torch.tensor([names.index(label) for label in labels])


def test_it_trains_as_the_library_does(tiny_classifier: Callable[..., Classifier], pair: Pair) -> None:
    masked, dense = tiny_classifier(), tiny_classifier()
    linears = linears_of(masked.encoder)
    everything = Mask("rows", {name: torch.arange(linear.out_features) for name, linear in linears.items()})
    expected = train(masked, everything, pair, pair, SETTINGS, 0)
    dense.encoder.requires_grad_(False)
    for linear in linears_of(dense.encoder).values():
        linear.requires_grad_(True)
    found = fit(dense, pair, pair, SETTINGS, 0)
    assert [record.keys() for record in found] == [record.keys() for record in expected]
    for record, wanted in zip(found, expected, strict=True):
        assert record == pytest.approx(wanted, rel=1e-3)
    assert found[-1]["train_loss"] < found[0]["train_loss"]


def test_the_best_epoch_is_kept_and_training_stops_after_patience(tiny_classifier: Callable[..., Classifier], pair: Pair) -> None:
    classifier = tiny_classifier()
    inputs, targets = pair
    # Validation that contradicts training: its loss soon rises.
    wrong = inputs, (targets + 1) % 5
    history = fit(classifier, pair, wrong, replace(SETTINGS, epochs=30, patience=2, warmup=0.0), 0)
    losses = [record["validation_loss"] for record in history]
    assert len(history) < 30
    assert losses.index(min(losses)) == len(losses) - 3
    from tokensieve.training import logits_of

    kept = torch.nn.functional.cross_entropy(logits_of(classifier, inputs), wrong[1]).item()
    assert kept == pytest.approx(min(losses), rel=1e-5)
