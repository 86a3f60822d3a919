from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tokensieve.method import fisher
from tokensieve.model.batches import Inputs, tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_linears, load_tokenizer
from tokensieve.model.state_cache import cache_states

TEXTS = ["where is my order?", "refund", "I lost my card, block it now please", "topup"]
TARGETS = torch.tensor([4, 2, 1, 3])
SHAPES = ("rows", "columns", "entries")


@pytest.fixture
def ids_of(tiny_family: Callable[[str], Path]) -> Callable[..., list[list[int]]]:
    return lambda family="bert": tokenize(load_tokenizer(tiny_family(family)), TEXTS, 32)


def positions_of(ids: list[list[int]]) -> list[list[bool]]:
    """Every third token counts."""
    return [[(place + row) % 3 == 0 for place in range(len(tokens))] for row, tokens in enumerate(ids)]


def by_autograd(
    classifier: Classifier, ids: list[list[int]], targets: Tensor, positions: list[list[bool]] | None
) -> dict[str, Tensor]:
    """The plain reference: the squared gradients of each linear weight, a text at a time, summed
    over the texts.

    A position that does not count goes through a copy of the weight that takes no gradient.
    """
    linears = encoder_linears(classifier.encoder)
    counted = torch.ones(0)

    def forward_of(linear: nn.Linear) -> Any:
        return lambda x: torch.where(
            counted, F.linear(x, linear.weight, linear.bias), F.linear(x, linear.weight.detach(), linear.bias)
        )

    for linear in linears.values():
        linear.weight.requires_grad_(True)
        linear.forward = forward_of(linear)
    squares = {name: torch.zeros_like(linear.weight) for name, linear in linears.items()}
    for row, tokens in enumerate(ids):
        counted = torch.tensor(positions[row] if positions else [True] * len(tokens)).unsqueeze(-1)
        logits = classifier(torch.tensor([tokens]), torch.ones(1, len(tokens), dtype=torch.int64))
        target = targets[row : row + 1]
        several = target.dim() == 2
        loss = (
            F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
            if several
            else F.cross_entropy(logits, target)
        )
        gradients = torch.autograd.grad(loss, [linear.weight for linear in linears.values()])
        for name, gradient in zip(linears, gradients, strict=True):
            squares[name] += gradient.square()
    return squares


@pytest.mark.parametrize("cut", [0, 2])
@pytest.mark.parametrize("counting", ["all", "some"])
def test_scores_are_the_sums_of_squared_gradients(
    tiny_classifier: Callable[..., Classifier],
    ids_of: Callable[..., list[list[int]]],
    family: str,
    counting: str,
    cut: int,
) -> None:
    ids = ids_of(family)
    positions = positions_of(ids) if counting == "some" else None
    classifier = tiny_classifier(family)
    classifier.encoder.requires_grad_(False)
    inputs = cache_states(Inputs(ids), classifier, cut)
    rows = fisher.fisher_scores(classifier, inputs, TARGETS, "rows", positions, cut)
    columns = fisher.fisher_scores(classifier, inputs, TARGETS, "columns", positions, cut)
    entries = fisher.fisher_scores(classifier, inputs, TARGETS, "entries", positions, cut)
    squares = by_autograd(tiny_classifier(family), ids, TARGETS, positions)
    upper = encoder_linears(classifier.encoder, cut)
    assert set(rows) == set(columns) == set(entries) == set(upper)
    for name in upper:
        for found, expected in (
            (rows, squares[name].sum(1)),
            (columns, squares[name].sum(0)),
            (entries, squares[name]),
        ):
            torch.testing.assert_close(found[name], expected, rtol=1e-3, atol=1e-5 * float(expected.max()))
    assert sum(float(found.sum()) for found in rows.values()) > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_texts_of_several_classes_count_by_the_sum_of_their_classes_losses(
    tiny_classifier: Callable[..., Classifier], ids_of: Callable[..., list[list[int]]], shape: str
) -> None:
    ids, targets = (
        ids_of(),
        torch.tensor(
            [[0, 0, 0, 0, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.float32
        ),
    )
    found = fisher.fisher_scores(tiny_classifier(), Inputs(ids), targets, shape)
    for name, squares in by_autograd(tiny_classifier(), ids, targets, None).items():
        expected = {"rows": squares.sum(1), "columns": squares.sum(0), "entries": squares}[shape]
        torch.testing.assert_close(found[name], expected, rtol=1e-3, atol=1e-5 * float(expected.max()))


@pytest.mark.parametrize("shape", SHAPES)
def test_padding_does_not_matter(
    tiny_classifier: Callable[..., Classifier], ids_of: Callable[..., list[list[int]]], shape: str
) -> None:
    classifier, inputs = tiny_classifier(), Inputs(ids_of())
    together = fisher.fisher_scores(classifier, inputs, TARGETS, shape)
    # No batch has room for more than one text.
    inputs.tokens_per_batch = 1
    for name, alone in fisher.fisher_scores(classifier, inputs, TARGETS, shape).items():
        torch.testing.assert_close(together[name], alone, rtol=1e-3, atol=1e-5 * float(alone.max()))


def test_chosen_texts_are_scored_alone(
    tiny_classifier: Callable[..., Classifier], ids_of: Callable[..., list[list[int]]]
) -> None:
    classifier, ids = tiny_classifier(), ids_of()
    positions = positions_of(ids)
    found = fisher.fisher_scores(classifier, Inputs(ids), TARGETS, positions=positions, texts=[3, 1])
    expected = fisher.fisher_scores(
        classifier, Inputs([ids[1], ids[3]]), TARGETS[[1, 3]], positions=[positions[1], positions[3]]
    )
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values)


@pytest.mark.parametrize("trainable", [True, False])
def test_scoring_does_not_change_the_classifier(
    tiny_classifier: Callable[..., Classifier], ids_of: Callable[..., list[list[int]]], trainable: bool
) -> None:
    classifier = tiny_classifier()
    classifier.requires_grad_(trainable)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    fisher.fisher_scores(classifier, Inputs(ids_of()), TARGETS)
    with pytest.raises(IndexError):
        fisher.fisher_scores(classifier, Inputs([[2, 10_000, 3]]), TARGETS[:1])
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.state_dict().items())
    assert {(parameter.grad, parameter.requires_grad) for parameter in classifier.parameters()} == {
        (None, trainable)
    }
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in classifier.modules())


def test_magnitude_is_the_squared_weights(tiny_classifier: Callable[..., Classifier]) -> None:
    classifier = tiny_classifier()
    for shape, along in (("rows", 1), ("columns", 0)):
        found = fisher.magnitude_scores(classifier, shape, cut=3)
        assert set(found) == set(encoder_linears(classifier.encoder, 3))
        for name, values in found.items():
            torch.testing.assert_close(
                values, classifier.encoder.get_submodule(name).weight.detach().pow(2).sum(along)
            )
    for name, values in fisher.magnitude_scores(classifier, "entries", cut=3).items():
        torch.testing.assert_close(values, classifier.encoder.get_submodule(name).weight.detach().pow(2))


def test_random_scores_are_seeded_and_fair_to_long_rows(tiny_classifier: Callable[..., Classifier]) -> None:
    classifier = tiny_classifier()
    first, again, other = (fisher.random_scores(classifier, seed) for seed in (0, 0, 1))
    assert all(
        torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name]) for name in first
    )
    for name, values in first.items():
        weight = classifier.encoder.get_submodule(name).weight
        assert values.shape == weight.shape[:1]
        assert 0.8 < float(values.max()) / weight.shape[1] <= 1
    assert (
        fisher.random_scores(classifier, 0, "columns", 3).keys()
        == encoder_linears(classifier.encoder, 3).keys()
    )
    for name, values in fisher.random_scores(classifier, 0, "entries", 3).items():
        assert values.shape == classifier.encoder.get_submodule(name).weight.shape
        assert 0.9 < float(values.max()) < 1
