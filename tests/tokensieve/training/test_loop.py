from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn
from torch.nn import functional as F

from tokensieve.errors import InputError
from tokensieve.method.mask import Mask
from tokensieve.model.batches import Inputs, tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_linears, load_tokenizer
from tokensieve.model.state_cache import cache_states
from tokensieve.settings import Finetune
from tokensieve.training import steps
from tokensieve.training.checkpoint import FILE, Checkpoint
from tokensieve.training.epochs import batch_size, count_epochs, shuffled_batches
from tokensieve.training.loop import compute_logits, set_threads, train_masked, train_parameters
from tokensieve.training.losses import accuracy, calibrated_loss, class_weights, mean_loss
from tokensieve.training.schedule import Schedule, learning_rate_factor

SETTINGS = Finetune(max_epochs=3, batch_size=8, learning_rate=3e-3, head_learning_rate=1e-2)
Part = tuple[Inputs, Tensor]
Run = tuple[Classifier, list[dict[str, Any]]]


@pytest.fixture
def parts(tiny_model: Path, tiny_texts: tuple[list[str], list[str]]) -> tuple[Part, Part]:
    """Forty texts to train on and twenty to validate on."""
    texts, labels = tiny_texts
    ids, names = tokenize(load_tokenizer(tiny_model), texts, 32), sorted(set(labels))
    targets = torch.tensor([names.index(label) for label in labels])

    def take(places: list[int]) -> Part:
        return Inputs([ids[i] for i in places]), targets[places]

    return take([i for i in range(60) if i % 3]), take(list(range(0, 60, 3)))


@pytest.fixture
def run(tiny_classifier: Callable[..., Classifier], parts: tuple[Part, Part]) -> Callable[..., Run]:
    """Trains a new classifier, its layers from `first` up, and returns it with the history."""

    def start(
        settings: Finetune = SETTINGS,
        seed: int = 0,
        checkpoint: Checkpoint | None = None,
        first: int = 2,
        dropout: bool = True,
        **changes: Any,
    ) -> Run:
        classifier = tiny_classifier()
        for module in classifier.modules():
            if isinstance(module, nn.Dropout) and not dropout:
                module.p = 0.0
        chosen = {
            name: torch.arange(0, linear.out_features, 3)
            for name, linear in encoder_linears(classifier.encoder, first).items()
        }
        data = {"training": parts[0], "validation": parts[1]} | changes
        return classifier, train_masked(
            classifier, Mask("rows", chosen), settings=settings, seed=seed, checkpoint=checkpoint, **data
        )

    return start


def same(first: Run, second: Run) -> bool:
    """Whether two runs agree in every bit of weights and history."""
    weights = second[0].state_dict()
    return first[1] == second[1] and all(
        torch.equal(tensor, weights[name]) for name, tensor in first[0].state_dict().items()
    )


def test_training_learns(run: Callable[..., Run], parts: tuple[Part, Part]) -> None:
    classifier, history = run(
        dataclasses.replace(SETTINGS, max_epochs=15, patience=15, learning_rate=1e-2, head_learning_rate=3e-2)
    )
    assert [record["epoch"] for record in history] == list(range(1, 16))
    assert set(history[0]) == {"epoch", "train_loss", "validation_loss", "validation_accuracy"}
    assert history[-1]["train_loss"] < 0.5 * history[0]["train_loss"]
    found = compute_logits(classifier, parts[0][0])
    assert (found.argmax(1) == parts[0][1]).float().mean() > 0.8
    assert not classifier.training


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(run: Callable[..., Run]) -> None:
    first = run()
    assert same(first, run())
    assert not same(first, run(seed=1))
    assert first[1] != run(seed=1)[1]


def test_each_epoch_and_each_seed_draw_anew(run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[list[list[int]]] = []
    monkeypatch.setattr(
        steps,
        "shuffled_batches",
        lambda *arguments: orders.append(shuffled_batches(*arguments)) or orders[-1],
    )
    run(seed=0)
    run(seed=1)
    assert len({str(order) for order in orders}) == len(orders) == 6
    # Nothing is learned and all texts are one batch in one order, so only the dropout differs.
    monkeypatch.setattr(steps, "shuffled_batches", lambda *_: [list(range(40))])
    still = Finetune(max_epochs=2, batch_size=64, learning_rate=0.0, head_learning_rate=0.0)
    losses = [record["train_loss"] for seed in (0, 1) for record in run(still, seed)[1]]
    assert len({round(loss, 4) for loss in losses}) == 4


@pytest.mark.parametrize("schedule", [None, Schedule(2, range(1)), Schedule(2, range(1, 2))])
@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_an_interrupted_training_goes_on_as_if_nothing_had_been(
    run: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epoch: int,
    schedule: Schedule | None,
) -> None:
    if schedule:
        run = functools.partial(
            run, first=0, schedule=dataclasses.replace(schedule, folder=tmp_path / "prefix", key="key")
        )
    whole, steps = run(), 0
    serve = Inputs.batch

    def interrupted(inputs: Inputs, indices: list[int]) -> Any:
        nonlocal steps
        steps += len(inputs) == 40 and len(indices) == 8 and torch.is_grad_enabled()
        if steps == epoch * 5 + 3:  # the third of the five batches of an epoch
            raise KeyboardInterrupt
        return serve(inputs, indices)

    checkpoint = Checkpoint(tmp_path, "key")
    with monkeypatch.context() as patch:
        patch.setattr(Inputs, "batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(checkpoint=checkpoint)
    assert (tmp_path / FILE).exists() == (epoch > 0)
    assert same(run(checkpoint=checkpoint), whole)


def test_the_head_trains_alone_then_all_layers_then_those_above_the_cut(
    run: Callable[..., Run], tiny_classifier: Callable[..., Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, seen = Schedule.inputs_of, {}

    def spied(schedule: Schedule, classifier: Classifier, inputs: Inputs, part: str, phase: str) -> Inputs:
        seen[phase] = {name: tensor.clone() for name, tensor in classifier.encoder.state_dict().items()}
        return original(schedule, classifier, inputs, part, phase)

    monkeypatch.setattr(Schedule, "inputs_of", spied)
    seen["end"] = run(first=1, schedule=Schedule(2, range(1, 2)))[0].encoder.state_dict()
    never, upper = tiny_classifier().encoder, encoder_linears(tiny_classifier().encoder, 2)
    phases = ["head", "all", "top", "end"]
    assert list(seen) == phases
    for name in encoder_linears(never):
        states = [seen[phase][f"{name}.weight"] for phase in phases]
        changed = [not torch.equal(first, second) for first, second in itertools.pairwise(states)]
        first_layer = name not in encoder_linears(never, 1)
        assert changed == ([False] * 3 if first_layer else [False, True, name in upper])


def test_a_head_that_comes_to_a_halt_does_not_end_the_training(run: Callable[..., Run]) -> None:
    still = dataclasses.replace(SETTINGS, max_epochs=8, patience=2, head_learning_rate=0.0)
    losses = [
        record["validation_loss"] for record in run(still, first=0, schedule=Schedule(2, range(5, 8)))[1]
    ]
    assert losses[:5] == [losses[0]] * 5
    assert losses[5] < losses[0]
    # Of the epochs that follow, as many as ever may bring nothing.
    worse = dataclasses.replace(still, learning_rate=0.0)
    assert len(run(worse, first=0, schedule=Schedule(2, range(5, 8)))[1]) == 7


def test_frozen_layers_give_the_losses_of_layers_that_no_longer_train(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = run(first=0, dropout=False, schedule=Schedule(2, range(1)))
    # The same without cached states: all is computed, and only the gradients of the lower layers
    # are dropped.
    step = torch.optim.AdamW.step
    steps = 0

    def without_lower(optimizer: torch.optim.AdamW, *arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps > 5:
            for parameter in optimizer.param_groups[0]["params"][:frozen_parameters]:
                parameter.grad = None
        return step(optimizer, *arguments)

    frozen_parameters = sum(2 for _ in encoder_linears(cached[0].encoder)) - sum(
        2 for _ in encoder_linears(cached[0].encoder, 2)
    )
    monkeypatch.setattr(torch.optim.AdamW, "step", without_lower)
    uncached = run(first=0, dropout=False)
    assert steps == 15
    for record, expected in zip(cached[1], uncached[1], strict=True):
        assert record == pytest.approx(expected, rel=1e-4)
    for name, tensor in uncached[0].state_dict().items():
        torch.testing.assert_close(
            cached[0].state_dict()[name], tensor, rtol=1e-2, atol=1e-3
        )  # Adam magnifies rounding


def test_schedule_before_the_first_epoch_is_training_above_a_cached_prefix(
    run: Callable[..., Run], parts: tuple[Part, Part]
) -> None:
    fresh = run(schedule=Schedule(2))
    start = run(settings=dataclasses.replace(SETTINGS, learning_rate=0.0, head_learning_rate=0.0))[0]
    given = tuple((cache_states(inputs, start, 2), targets) for inputs, targets in parts)
    assert same(fresh, run(training=given[0], validation=given[1], schedule=Schedule(2)))
    assert not parts[0][0].layer


def test_fit_trains_dense_weights_as_train_does_a_full_mask(
    tiny_classifier: Callable[..., Classifier], parts: tuple[Part, Part]
) -> None:
    masked, dense = tiny_classifier(), tiny_classifier()
    linears = encoder_linears(masked.encoder)
    full = Mask("rows", {name: torch.arange(linear.out_features) for name, linear in linears.items()})
    expected = train_masked(masked, full, *parts, SETTINGS, 0)
    named = dict(dense.named_parameters())
    trained = {
        f"encoder.{name}.{kind}": named[f"encoder.{name}.{kind}"]
        for name in linears
        for kind in ("weight", "bias")
    }
    found = train_parameters(
        dense, trained | {name: named[name] for name in ("head.weight", "head.bias")}, *parts, SETTINGS, 0
    )
    for record, wanted in zip(found, expected, strict=True):
        assert record == pytest.approx(wanted, rel=1e-3)


def test_several_labels_a_text_are_learned_each_by_itself(
    run: Callable[..., Run], parts: tuple[Part, Part]
) -> None:
    inputs, targets = parts[0]
    # Label 4 goes with label 0, and texts of label 1 have none.
    several = F.one_hot(targets, 5).float()
    several[:, 4] = several[:, 0]
    several[:, 1] = 0.0
    settings = Finetune(max_epochs=40, patience=40, batch_size=8, learning_rate=1e-2, head_learning_rate=3e-2)
    classifier, history = run(settings, training=(inputs, several), validation=(inputs, several))
    found = compute_logits(classifier, inputs)
    assert accuracy(found, several) > 0.8
    assert history[-1]["validation_accuracy"] <= 1.0
    assert history[-1]["train_loss"] < 0.5 * history[0]["train_loss"]


def test_the_loss_of_several_labels_is_the_sum_of_each_ones() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(6, 3), torch.randint(0, 2, (6, 3)).float()
    each = -(targets * F.logsigmoid(logits) + (1 - targets) * F.logsigmoid(-logits))
    assert mean_loss(logits, targets).item() == pytest.approx(each.sum(1).mean().item(), rel=1e-5)
    rare = class_weights(torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), 2)
    assert rare.tolist() == [1.0, 3.0]


def test_a_finished_training_is_not_done_again(
    run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint(tmp_path, "key")
    whole = run(checkpoint=checkpoint)
    monkeypatch.setattr(steps, "shuffled_batches", lambda *_: pytest.fail("an epoch was begun"))
    assert same(run(checkpoint=checkpoint), whole)


def test_a_checkpoint_changes_nothing(run: Callable[..., Run], tmp_path: Path) -> None:
    assert same(run(), run(checkpoint=Checkpoint(tmp_path, "key")))


@pytest.mark.parametrize("content", ["foreign", "half", "text", "empty"])
def test_a_checkpoint_that_is_not_its_own_or_not_whole_is_ignored(
    run: Callable[..., Run], tmp_path: Path, content: str
) -> None:
    run(dataclasses.replace(SETTINGS, max_epochs=1), checkpoint=Checkpoint(tmp_path, "foreign"))
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(
        {"foreign": whole, "half": whole[:5000], "text": b"{}", "empty": b""}[content]
    )
    assert same(run(checkpoint=Checkpoint(tmp_path, "key")), run())


def test_training_stops_early_with_the_weights_of_the_best_epoch(
    run: Callable[..., Run], parts: tuple[Part, Part]
) -> None:
    # Validated against wrong answers, it gets worse as it learns.
    inputs, targets = parts[1]
    wrong = inputs, (targets + 1) % 5
    settings = dataclasses.replace(SETTINGS, max_epochs=30, patience=2, warmup=0.0)
    classifier, history = run(settings, validation=wrong)
    losses = [record["validation_loss"] for record in history]
    best = losses.index(min(losses))
    assert len(history) == best + 1 + 2 < 30
    assert calibrated_loss(compute_logits(classifier, wrong[0]), wrong[1]) == pytest.approx(
        losses[best], abs=1e-6
    )
    assert losses[-1] > losses[best]


def test_an_interrupted_training_stops_early_all_the_same(
    run: Callable[..., Run], parts: tuple[Part, Part], tmp_path: Path
) -> None:
    inputs, targets = parts[1]
    wrong = inputs, (targets + 1) % 5
    settings = dataclasses.replace(SETTINGS, max_epochs=30, patience=1, warmup=0.0)
    checkpoint = Checkpoint(tmp_path, "key")
    whole = run(settings, validation=wrong, checkpoint=checkpoint)
    assert same(run(settings, validation=wrong, checkpoint=checkpoint), whole)


@pytest.mark.parametrize("has_validation", [True, False])
def test_a_training_that_does_not_converge_is_refused(
    run: Callable[..., Run], parts: tuple[Part, Part], tmp_path: Path, has_validation: bool
) -> None:
    training, checkpoint = (parts[0][0], torch.full((40, 5), math.nan)), Checkpoint(tmp_path, "key")
    validation = parts[1] if has_validation else None
    with pytest.raises(InputError, match=r"train loss of epoch 1 is nan; lower finetune\.learning_rate and"):
        run(training=training, validation=validation, checkpoint=checkpoint)
    assert not (tmp_path / FILE).exists()


def test_without_validation_the_last_epoch_is_kept(run: Callable[..., Run], parts: tuple[Part, Part]) -> None:
    classifier, history = run(validation=None)
    assert [set(record) for record in history] == [{"epoch", "train_loss"}] * 3
    # Training sees no validation, so it goes the same way with one whose loss falls to the end.
    other, record = run()
    assert [entry["train_loss"] for entry in record] == [entry["train_loss"] for entry in history]
    assert min(record, key=lambda entry: entry["validation_loss"])["epoch"] == 3
    assert all(
        torch.equal(tensor, other.state_dict()[name]) for name, tensor in classifier.state_dict().items()
    )


def test_rare_classes_weigh_more_if_so_set(
    tiny_classifier: Callable[..., Classifier], parts: tuple[Part, Part]
) -> None:
    classifier = tiny_classifier()
    for module in classifier.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    kept = [i for i, target in enumerate(parts[0][1].tolist()) if target != 0 or i < 2]
    inputs, targets = Inputs([parts[0][0].token_ids(i).tolist() for i in kept]), parts[0][1][kept]
    logits = compute_logits(classifier, inputs)
    weights = torch.tensor(
        compute_class_weight("balanced", classes=np.arange(5), y=targets.numpy()), dtype=torch.float32
    )
    assert weights[0] > 3 * weights[1]
    for kind, expected in (("none", None), ("balanced", weights)):
        still = Finetune(
            max_epochs=1,
            batch_size=64,
            min_steps_per_epoch=1,
            learning_rate=0.0,
            head_learning_rate=0.0,
            class_weights=kind,
        )
        history = train_masked(classifier, Mask("rows", {}), (inputs, targets), None, still, 0)
        assert history[0]["train_loss"] == pytest.approx(
            F.cross_entropy(logits, targets, expected).item(), rel=1e-4
        )


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_class_weights_are_scikit_learns(targets: list[int]) -> None:
    found = class_weights(torch.tensor(targets), 5)
    present = sorted(set(targets))
    expected = compute_class_weight("balanced", classes=np.array(present), y=np.array(targets))
    assert found[present].tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert float(found[targets].mean()) == pytest.approx(1.0, rel=1e-5)
    assert torch.isfinite(found).all()


@given(st.lists(st.integers(1, 60), min_size=1, max_size=300), st.integers(1, 9), st.integers(0, 2**40))
def test_batches_hold_every_text_once(lengths: list[int], size: int, seed: int) -> None:
    found = shuffled_batches(lengths, size, seed)
    assert sorted(index for batch in found for index in batch) == list(range(len(lengths)))
    assert max(map(len, found)) <= size
    assert len(found) == math.ceil(len(lengths) / size)
    assert found == shuffled_batches(lengths, size, seed)


@given(texts=st.integers(1, 5000), batch=st.integers(1, 64), least=st.integers(1, 40))
def test_few_texts_are_divided_evenly_into_the_minimum_number_of_steps(
    texts: int, batch: int, least: int
) -> None:
    settings = Finetune(batch_size=batch, min_steps_per_epoch=least)
    size = batch_size(settings, texts)
    sizes = [len(indices) for indices in shuffled_batches([1] * texts, size, 0)]
    plain, dealt = math.ceil(texts / batch), min(least, texts // 8)
    assert len(sizes) == max(plain, dealt)
    assert max(sizes) <= batch
    if dealt >= plain:
        assert min(sizes) >= 8
        assert max(sizes) - min(sizes) <= 1
    else:
        assert sorted(sizes)[1:] == [batch] * (plain - 1)


def test_batches_are_shuffled_and_hold_similar_lengths() -> None:
    lengths = [1 + i % 50 for i in range(200)]
    found = shuffled_batches(lengths, 4, 0)
    assert found != shuffled_batches(lengths, 4, 1)
    assert all(len({lengths[i] for i in batch}) == 1 for batch in found)
    assert [lengths[batch[0]] for batch in found] != sorted(lengths[batch[0]] for batch in found)


def test_the_rate_rises_and_falls_in_straight_lines() -> None:
    found = [learning_rate_factor(step, 10, 0.2) for step in range(11)]
    assert found == pytest.approx([0.5, 1.0, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0.0])
    assert [learning_rate_factor(step, 4, 0.0) for step in range(4)] == pytest.approx(
        [1.0, 1.0, 2 / 3, 1 / 3]
    )
    assert [learning_rate_factor(step, 4, 1.0) for step in range(5)] == pytest.approx(
        [0.25, 0.5, 0.75, 1.0, 0.0]
    )
    assert learning_rate_factor(0, 1, 0.1) == 1.0


@pytest.mark.parametrize(
    ("epochs", "steps", "texts", "expected"),
    [
        (10, 1600, 770, 10),
        (10, 1600, 10_003, 6),
        (10, 1600, 10**6, 1),
        (3, 1600, 1, 3),
        (10, 1, 1000, 1),
        (10, 64, 1024, 2),
        (10, 65, 1024, 3),
    ],
)
def test_large_data_gets_fewer_epochs(epochs: int, steps: int, texts: int, expected: int) -> None:
    assert count_epochs(Finetune(max_epochs=epochs, max_steps=steps, batch_size=32), texts) == expected


def test_logits_have_the_order_of_the_texts(
    tiny_classifier: Callable[..., Classifier], parts: tuple[Part, Part]
) -> None:
    classifier, inputs = tiny_classifier().train(), parts[0][0]
    found = compute_logits(classifier, inputs)
    assert found.shape == (40, 5)
    with torch.no_grad():
        alone = torch.cat([inputs.batch([i]).logits(classifier) for i in range(40)])
    torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-5)
    assert torch.equal(found, compute_logits(classifier, inputs))


def test_threads_are_the_given_number_or_all_cores() -> None:
    set_threads(3)
    assert torch.get_num_threads() == 3
    set_threads(0)
    assert torch.get_num_threads() == len(os.sched_getaffinity(0))
