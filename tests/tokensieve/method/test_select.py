"""Which weights are trained under the settings: the budget, the shapes, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from tokensieve.errors import InputError
from tokensieve.method import fisher, probe
from tokensieve.method.mask import Mask
from tokensieve.method.select import (
    count_masked_parameters,
    first_top_layer,
    first_trainable_layer,
    scoring_sample,
    select_mask,
)
from tokensieve.method.sparse import sparse_layers
from tokensieve.model.batches import Inputs, tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_linears, load_tokenizer
from tokensieve.model.state_cache import cache_states
from tokensieve.settings import Mask as MaskSettings
from tokensieve.settings import Schedule
from tokensieve.training.schedule import full_depth_epochs

TEXTS = ["where is my order?", "refund", "I lost my card, block it now please", "topup"]
TARGETS = torch.tensor([4, 2, 1, 3])
LAYER = 4 * 32 * 32 + 2 * 32 * 64  # weights of one layer's linears
SHAPES = ("rows", "columns", "entries", "layers")
SCORES = ("construct_fisher", "fisher", "magnitude", "random")


@pytest.fixture
def chosen(
    tiny_model: Path, tiny_classifier: Callable[..., Classifier]
) -> Callable[..., tuple[Classifier, Mask]]:
    """A classifier and the mask that settings choose for it, of four layers without a cut unless
    they say so.
    """

    def chosen(seed: int = 0, added: Sequence[int] = (), **settings: Any) -> tuple[Classifier, Mask]:
        classifier = tiny_classifier()
        classifier.encoder.requires_grad_(False)
        names = {spec.name for spec in fields(Schedule)}
        wanted = MaskSettings(**{key: value for key, value in settings.items() if key not in names})
        schedule = Schedule(
            **{"frozen_layers": 0.0, "top_layers_from": 0.0}
            | {key: value for key, value in settings.items() if key in names}
        )
        ids = tokenize(load_tokenizer(tiny_model), TEXTS, 32)
        positions = [[place % 2 == 1 for place in range(len(tokens))] for tokens in ids]
        inputs = cache_states(Inputs(ids), classifier, round(4 * schedule.frozen_layers))
        return classifier, select_mask(
            classifier, inputs, TARGETS, positions, wanted, schedule, seed, added
        ).mask

    return chosen


def layers_in(mask: Mask) -> set[str]:
    return {name.split(".")[2] for name in mask.indices}


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_mask_fills_the_budget_and_is_counted_as_it_is_trained(
    chosen: Callable[..., tuple[Classifier, Mask]], shape: str, score: str
) -> None:
    classifier, mask = chosen(unit=shape, score=score, budget=0.3)
    assert mask.shape == ("rows" if shape == "layers" else shape)
    with sparse_layers(classifier.encoder, mask) as sparse:
        weights = sum(module.values.numel() for module in sparse.values())
        trained = sum(
            parameter.numel() for parameter in classifier.encoder.parameters() if parameter.requires_grad
        )
    budget = int(0.3 * 4 * LAYER)
    assert weights == LAYER if shape == "layers" else budget - 4 * 64 < weights <= budget
    assert shape != "entries" or weights == budget // 4 * 4
    assert count_masked_parameters(classifier, mask) == trained


@pytest.mark.parametrize("shape", SHAPES)
def test_added_tokens_train_where_nothing_below_them_is_frozen(
    chosen: Callable[..., tuple[Classifier, Mask]], shape: str
) -> None:
    without, (classifier, mask) = (chosen(added=added, unit=shape, budget=0.3) for added in ((), (40, 50)))
    assert mask.tokens.tolist() == [40, 50]
    assert layers_in(mask) == layers_in(without[1])
    assert count_masked_parameters(classifier, mask) == count_masked_parameters(*without) + 2 * 32
    assert len(chosen(added=(40, 50), unit=shape, budget=0.3, frozen_layers=0.25)[1].tokens) == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_below_the_cut_is_chosen_and_the_draw_follows_the_seed(
    chosen: Callable[..., tuple[Classifier, Mask]], shape: str
) -> None:
    first, again = (chosen(unit=shape, score="random", frozen_layers=0.5, budget=0.3)[1] for _ in range(2))
    assert layers_in(first) <= {"2", "3"}
    assert {name: part.tolist() for name, part in first.indices.items()} == {
        name: part.tolist() for name, part in again.indices.items()
    }
    others = [chosen(seed, unit=shape, score="random", budget=0.3)[1] for seed in range(6)]
    assert len({str({name: part.tolist() for name, part in mask.indices.items()}) for mask in others}) > 1


@pytest.mark.parametrize("shape", ["rows", "columns", "entries"])
def test_every_layer_gets_the_same_share(chosen: Callable[..., tuple[Classifier, Mask]], shape: str) -> None:
    classifier, mask = chosen(unit=shape, frozen_layers=0.25, budget=0.3)
    assert layers_in(mask) == {"1", "2", "3"}
    for layer in "123":
        names = [name for name in mask.indices if f".{layer}." in name]
        count = count_masked_parameters(classifier, Mask(shape, {name: mask.indices[name] for name in names}))
        biases = sum(len(mask.indices[name]) for name in names) if shape == "rows" else 0
        assert 0.1 * 4 * LAYER - 64 < count - biases <= 0.1 * 4 * LAYER


def test_whole_layers_are_among_those_that_train_to_the_end(
    chosen: Callable[..., tuple[Classifier, Mask]],
) -> None:
    for seed in range(5):
        assert layers_in(
            chosen(seed, unit="layers", score="random", top_layers_from=0.75, budget=0.3)[1]
        ) == {"3"}


def test_the_cut_is_never_below_the_first_layer(tiny_classifier: Callable[..., Classifier]) -> None:
    classifier = tiny_classifier()
    found = {
        shares: (
            first_trainable_layer(classifier, Schedule(frozen_layers=shares[0], top_layers_from=shares[1])),
            first_top_layer(classifier, Schedule(frozen_layers=shares[0], top_layers_from=shares[1])),
        )
        for shares in ((0.0, 0.0), (0.25, 0.75), (0.5, 0.25), (0.99, 0.99))
    }
    assert found == {(0.0, 0.0): (0, 0), (0.25, 0.75): (1, 3), (0.5, 0.25): (2, 2), (0.99, 0.99): (3, 3)}


@pytest.mark.parametrize(
    ("head", "share", "epochs", "expected"),
    [
        (0.4, 0.3, 10, range(4, 7)),
        (0.4, 0.3, 6, range(2, 4)),
        (0.4, 0.3, 4, range(1, 2)),
        (0.4, 0.3, 2, range(1)),
        (0.4, 0.3, 1, range(1)),
        (0.0, 0.3, 10, range(3)),
        (0.4, 0.0, 10, range(4, 4)),
        (0.8, 0.4, 10, range(8, 10)),
        (0.0, 1.0, 10, range(10)),
        (1.0, 0.3, 10, range(10, 10)),
    ],
)
def test_full_depth_epochs_follow_those_of_the_head(
    head: float, share: float, epochs: int, expected: range
) -> None:
    assert full_depth_epochs(Schedule(head_epochs=head, all_layer_epochs=share), epochs, False) == expected
    assert full_depth_epochs(Schedule(head_epochs=head, all_layer_epochs=share), epochs, True) == range(
        epochs
    )


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("several", [False, True])
def test_the_scored_texts_are_probed_at_the_first_layer_the_cut_and_the_head(
    tiny_model: Path,
    tiny_classifier: Callable[..., Classifier],
    monkeypatch: pytest.MonkeyPatch,
    several: bool,
    score: str,
) -> None:
    classifier = tiny_classifier()
    classifier.encoder.requires_grad_(False)
    settings = MaskSettings(score=score)
    schedule = Schedule(frozen_layers=0.25, top_layers_from=0.5, far_task_ratio=1.5)
    inputs = cache_states(Inputs(tokenize(load_tokenizer(tiny_model), TEXTS, 32)), classifier, 1)
    targets = F.one_hot(TARGETS, 5).float() if several else TARGETS
    asked: list[Any] = []
    monkeypatch.setattr(
        probe, "is_far_from_pretraining", lambda errors, ratio: asked.append((errors, ratio)) or True
    )
    choice = select_mask(
        classifier, inputs, targets, [[True] * length for length in inputs.lengths], settings, schedule, 0
    )
    if several:
        assert (choice.probe_errors, choice.is_far, asked) == ({}, False, [])
        return
    sample = scoring_sample(4, settings, 0)
    with probe.StateRecorder(classifier, [1, 2], 2) as recorder:
        recorder.run(inputs, sample)
    expected = {layer: wrong.tolist() for layer, wrong in recorder.errors(TARGETS[sample]).items()}
    assert {layer: wrong.tolist() for layer, wrong in choice.probe_errors.items()} == expected
    assert list(expected) == [1, 2, 4]
    assert choice.is_far
    assert asked == [(choice.probe_errors, 1.5)]


def test_no_more_than_half_of_the_texts_are_scored() -> None:
    assert len(scoring_sample(1000, MaskSettings(examples=30), 0)) == 30
    assert len(scoring_sample(5, MaskSettings(examples=30), 0)) == 3
    assert (
        scoring_sample(100, MaskSettings(), 0)
        == scoring_sample(100, MaskSettings(), 0)
        != scoring_sample(100, MaskSettings(), 1)
    )


@pytest.mark.parametrize(("budget", "count"), [(0.25, 1), (0.4999, 1), (0.5, 2), (1.0, 4)])
def test_the_layers_with_the_highest_sum_of_row_scores_are_trained_whole(
    chosen: Callable[..., tuple[Classifier, Mask]], budget: float, count: int
) -> None:
    classifier, mask = chosen(unit="layers", score="magnitude", budget=budget)
    rows = fisher.magnitude_scores(classifier)
    sums = {
        layer: sum(float(values.sum()) for name, values in rows.items() if f".{layer}." in name)
        for layer in "0123"
    }
    assert layers_in(mask) == set(sorted(sums, key=lambda layer: -sums[layer])[:count])
    linears = encoder_linears(classifier.encoder)
    assert {name for name in linears if name.split(".")[2] in layers_in(mask)} == set(mask.indices)
    assert all(
        part.tolist() == list(range(linears[name].out_features)) for name, part in mask.indices.items()
    )


def test_a_budget_below_one_layer_is_refused_with_the_size_of_a_layer(
    chosen: Callable[..., tuple[Classifier, Mask]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Before anything is scored.
    monkeypatch.setattr(fisher, "fisher_scores", None)
    with pytest.raises(InputError) as refused:
        chosen(unit="layers", budget=0.2)
    told = ("mask.budget is 0.2", "'layers'", "mask.budget=0.25", "mask.unit=rows")
    assert [part for part in told if part not in str(refused.value)] == []
