"""Probes of layers: against regressions made one by one, and what they say of tasks near and far."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor
from torch.nn import functional as F

from tokensieve import probe
from tokensieve.base import layers_of, load_tokenizer
from tokensieve.classifier import Classifier
from tokensieve.inputs import Inputs, tokenized


@pytest.mark.parametrize("several", [False, True])
def test_leaving_a_text_out_is_a_regression_without_it(several: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    features = torch.randn(40, 6)
    targets = (features @ torch.randn(6, 4) + torch.randn(40, 4)).argmax(1)
    wanted = F.one_hot(targets, 4)
    if several:
        wanted = (features @ torch.randn(6, 4) + torch.randn(40, 4) > 0).long()
    monkeypatch.setattr(probe, "PENALTIES", (0.5,))
    found = probe.left_out(features, wanted.float() if several else targets)
    x = features.double() - features.double().mean(0)
    penalty = 0.5 * float(torch.linalg.eigvalsh(x.mT @ x).mean())
    for i in range(40):
        others = [j for j in range(40) if j != i]
        model = Ridge(alpha=penalty).fit(features[others].double().numpy(), (2 * wanted[others] - 1).numpy())
        predicted = model.predict(features[i : i + 1].double().numpy())[0]
        expected = int(((predicted > 0) != wanted[i].numpy()).sum()) if several else int(np.argmax(predicted) != targets[i])
        assert found[i] == expected


def test_features_without_sense_are_not_learned_by_heart() -> None:
    torch.manual_seed(0)
    targets = torch.arange(200) % 4
    assert probe.left_out(torch.randn(200, 150), targets).mean() > 0.6
    assert probe.left_out(F.one_hot(targets).float() + 0.1 * torch.randn(200, 4), targets).mean() < 0.05


def test_the_layers_asked_for_and_the_top_are_probed(
    tiny_classifier: Callable[..., Classifier], tiny_model: Path, tiny_texts: tuple[list[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, labels = tiny_texts
    inputs = Inputs(tokenized(load_tokenizer(tiny_model), texts, 32))
    names = sorted(set(labels))
    targets = torch.tensor([names.index(label) for label in labels])
    classifier, seen = tiny_classifier(), []
    monkeypatch.setattr(probe, "left_out", lambda features, targets: seen.append((features, targets)) or torch.zeros(len(targets)))
    chosen = list(range(3, 60, 2))
    probe.errors(classifier, inputs, targets, chosen, [0, 2])
    probe.errors(classifier, inputs.freeze(classifier, 2), targets, chosen, [2])
    batch = inputs.batch(chosen)
    with torch.no_grad():
        assert batch.ids is not None
        states = [classifier.prefix(batch.ids, batch.mask, layer) for layer in (0, 2, len(layers_of(classifier.encoder)))]
        expected = [classifier.pooled(found, batch.mask) for found in states]
    for (features, kept), wanted in zip(seen, [*expected, *expected[1:]], strict=True):
        torch.testing.assert_close(features, wanted, rtol=1e-3, atol=1e-4)
        assert torch.equal(kept, targets[chosen])


def wrong(count: int, of: int = 200) -> Tensor:
    return torch.tensor([1.0] * count + [0.0] * (of - count)).double()


@pytest.mark.parametrize(
    ("lower", "top", "expected"),
    [
        (wrong(80), wrong(120), True),
        (wrong(80), wrong(90), False),  # fewer than 1.2 times as many
        (wrong(4), wrong(8), False),  # chance
        (wrong(120), wrong(80), False),
        (wrong(80), wrong(80), False),
    ],
)
def test_a_task_is_distant_if_the_top_surely_errs_more(lower: Tensor, top: Tensor, expected: bool) -> None:
    assert probe.distant({2: wrong(150), 4: lower, 6: top}, 1.2) == expected
    assert not probe.distant({6: top}, 1.2)
