from __future__ import annotations

import dataclasses
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

from tokensieve import training
from tokensieve.base import linears_of, load_tokenizer
from tokensieve.checkpoint import FILE, Checkpoint
from tokensieve.classifier import Classifier
from tokensieve.inputs import Inputs, tokenized
from tokensieve.mask import Mask
from tokensieve.settings import Finetune
from tokensieve.training import batches, class_weights, epochs_of, logits_of, rate, train, use_threads

SETTINGS = Finetune(epochs=3, batch=8, learning_rate=3e-3, head_learning_rate=1e-2)
Part = tuple[Inputs, Tensor]
Run = tuple[Classifier, list[dict[str, Any]]]


@pytest.fixture
def parts(tiny_model: Path, tiny_texts: tuple[list[str], list[str]]) -> tuple[Part, Part]:
    """Forty texts to train on and twenty to validate on."""
    texts, labels = tiny_texts
    ids, names = tokenized(load_tokenizer(tiny_model), texts, 32), sorted(set(labels))
    targets = torch.tensor([names.index(label) for label in labels])

    def take(places: list[int]) -> Part:
        return Inputs([ids[i] for i in places]), targets[places]

    return take([i for i in range(60) if i % 3]), take(list(range(0, 60, 3)))


@pytest.fixture
def run(tiny_classifier: Callable[..., Classifier], parts: tuple[Part, Part]) -> Callable[..., Run]:
    """Trains a new classifier, the upper half of its layers, and returns it with the history."""

    def start(settings: Finetune = SETTINGS, seed: int = 0, checkpoint: Checkpoint | None = None, **changes: Any) -> Run:
        classifier = tiny_classifier()
        chosen = {name: torch.arange(0, linear.out_features, 3) for name, linear in linears_of(classifier.encoder, 2).items()}
        data = {"training": parts[0], "validation": parts[1]} | changes
        return classifier, train(classifier, Mask("rows", chosen), settings=settings, seed=seed, checkpoint=checkpoint, **data)

    return start


def same(first: Run, second: Run) -> bool:
    """Whether two runs agree in every bit of weights and history."""
    weights = second[0].state_dict()
    return first[1] == second[1] and all(torch.equal(tensor, weights[name]) for name, tensor in first[0].state_dict().items())


def test_training_learns(run: Callable[..., Run], parts: tuple[Part, Part]) -> None:
    classifier, history = run(dataclasses.replace(SETTINGS, epochs=15, patience=15, learning_rate=1e-2, head_learning_rate=3e-2))
    assert [record["epoch"] for record in history] == list(range(1, 16))
    assert set(history[0]) == {"epoch", "train_loss", "validation_loss", "validation_accuracy"}
    assert history[-1]["train_loss"] < 0.5 * history[0]["train_loss"]
    found = logits_of(classifier, parts[0][0])
    assert (found.argmax(1) == parts[0][1]).float().mean() > 0.8
    assert not classifier.training


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(run: Callable[..., Run]) -> None:
    first = run()
    assert same(first, run())
    assert not same(first, run(seed=1))
    assert first[1] != run(seed=1)[1]


def test_each_epoch_and_each_seed_draw_anew(run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[list[list[int]]] = []
    monkeypatch.setattr(training, "batches", lambda *arguments: orders.append(batches(*arguments)) or orders[-1])
    run(seed=0)
    run(seed=1)
    assert len({str(order) for order in orders}) == len(orders) == 6
    # Nothing is learned and all texts are one batch in one order, so only the dropout differs.
    monkeypatch.setattr(training, "batches", lambda *_: [list(range(40))])
    still = Finetune(epochs=2, batch=64, learning_rate=0.0, head_learning_rate=0.0)
    losses = [record["train_loss"] for seed in (0, 1) for record in run(still, seed)[1]]
    assert len({round(loss, 4) for loss in losses}) == 4


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_an_interrupted_training_goes_on_as_if_nothing_had_been(
    run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    whole, steps = run(), 0
    serve = Inputs.batch

    def interrupted(inputs: Inputs, indices: list[int]) -> Any:
        nonlocal steps
        steps += len(inputs) == 40
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


def test_a_finished_training_is_not_done_again(run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint(tmp_path, "key")
    whole = run(checkpoint=checkpoint)
    monkeypatch.setattr(training, "batches", lambda *_: pytest.fail("an epoch was begun"))
    assert same(run(checkpoint=checkpoint), whole)


def test_a_checkpoint_changes_nothing(run: Callable[..., Run], tmp_path: Path) -> None:
    assert same(run(), run(checkpoint=Checkpoint(tmp_path, "key")))


@pytest.mark.parametrize("content", ["foreign", "half", "text", "empty"])
def test_a_checkpoint_that_is_not_its_own_or_not_whole_is_ignored(run: Callable[..., Run], tmp_path: Path, content: str) -> None:
    run(dataclasses.replace(SETTINGS, epochs=1), checkpoint=Checkpoint(tmp_path, "foreign"))
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes({"foreign": whole, "half": whole[:5000], "text": b"{}", "empty": b""}[content])
    assert same(run(checkpoint=Checkpoint(tmp_path, "key")), run())


def test_training_stops_early_with_the_weights_of_the_best_epoch(run: Callable[..., Run], parts: tuple[Part, Part]) -> None:
    # Validated against wrong answers, it gets worse as it learns.
    inputs, targets = parts[1]
    wrong = inputs, (targets + 1) % 5
    settings = dataclasses.replace(SETTINGS, epochs=30, patience=2, warmup=0.0)
    classifier, history = run(settings, validation=wrong)
    losses = [record["validation_loss"] for record in history]
    best = losses.index(min(losses))
    assert len(history) == best + 1 + 2 < 30
    assert F.cross_entropy(logits_of(classifier, wrong[0]), wrong[1]).item() == pytest.approx(losses[best], abs=1e-6)
    assert losses[-1] > losses[best] + 1e-3


def test_an_interrupted_training_stops_early_all_the_same(run: Callable[..., Run], parts: tuple[Part, Part], tmp_path: Path) -> None:
    inputs, targets = parts[1]
    wrong = inputs, (targets + 1) % 5
    settings = dataclasses.replace(SETTINGS, epochs=30, patience=1, warmup=0.0)
    checkpoint = Checkpoint(tmp_path, "key")
    whole = run(settings, validation=wrong, checkpoint=checkpoint)
    assert same(run(settings, validation=wrong, checkpoint=checkpoint), whole)


def test_without_validation_the_last_epoch_is_kept(run: Callable[..., Run], parts: tuple[Part, Part]) -> None:
    classifier, history = run(validation=None)
    assert [set(record) for record in history] == [{"epoch", "train_loss"}] * 3
    # Training sees no validation, so it goes the same way with one whose loss falls to the end.
    other, record = run()
    assert [entry["train_loss"] for entry in record] == [entry["train_loss"] for entry in history]
    assert min(record, key=lambda entry: entry["validation_loss"])["epoch"] == 3
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in classifier.state_dict().items())


def test_rare_classes_weigh_more_if_so_set(tiny_classifier: Callable[..., Classifier], parts: tuple[Part, Part]) -> None:
    classifier = tiny_classifier()
    for module in classifier.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    kept = [i for i, target in enumerate(parts[0][1].tolist()) if target != 0 or i < 2]
    inputs, targets = Inputs([parts[0][0].ids[i] for i in kept]), parts[0][1][kept]
    logits = logits_of(classifier, inputs)
    weights = torch.tensor(compute_class_weight("balanced", classes=np.arange(5), y=targets.numpy()), dtype=torch.float32)
    assert weights[0] > 3 * weights[1]
    for kind, expected in (("none", None), ("balanced", weights)):
        still = Finetune(epochs=1, batch=64, learning_rate=0.0, head_learning_rate=0.0, class_weights=kind)
        history = train(classifier, Mask("rows", {}), (inputs, targets), None, still, 0)
        assert history[0]["train_loss"] == pytest.approx(F.cross_entropy(logits, targets, expected).item(), rel=1e-4)


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
    found = batches(lengths, size, seed)
    assert sorted(index for batch in found for index in batch) == list(range(len(lengths)))
    assert max(map(len, found)) <= size
    assert len(found) == math.ceil(len(lengths) / size)
    assert found == batches(lengths, size, seed)


def test_batches_are_shuffled_and_hold_similar_lengths() -> None:
    lengths = [1 + i % 50 for i in range(200)]
    found = batches(lengths, 4, 0)
    assert found != batches(lengths, 4, 1)
    assert all(len({lengths[i] for i in batch}) == 1 for batch in found)
    assert [lengths[batch[0]] for batch in found] != sorted(lengths[batch[0]] for batch in found)


def test_the_rate_rises_and_falls_in_straight_lines() -> None:
    found = [rate(step, 10, 0.2) for step in range(11)]
    assert found == pytest.approx([0.5, 1.0, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0.0])
    assert [rate(step, 4, 0.0) for step in range(4)] == pytest.approx([1.0, 1.0, 2 / 3, 1 / 3])
    assert [rate(step, 4, 1.0) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 0.0])
    assert rate(0, 1, 0.1) == 1.0


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
    assert epochs_of(Finetune(epochs=epochs, steps=steps, batch=32), texts) == expected


def test_logits_stand_in_the_order_of_the_texts(tiny_classifier: Callable[..., Classifier], parts: tuple[Part, Part]) -> None:
    classifier, inputs = tiny_classifier().train(), parts[0][0]
    found = logits_of(classifier, inputs)
    assert found.shape == (40, 5)
    with torch.no_grad():
        alone = torch.cat([inputs.batch([i]).logits(classifier) for i in range(40)])
    torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-5)
    assert torch.equal(found, logits_of(classifier, inputs))


def test_threads_are_those_asked_for_or_all_there_are() -> None:
    use_threads(3)
    assert torch.get_num_threads() == 3
    use_threads(0)
    assert torch.get_num_threads() == len(os.sched_getaffinity(0))
