"""Every method on the tiny task.

The model is random, so what is asked is that it learns, not how well.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.methods import METHODS, function_of
from benchmarks.timing import Clock
from benchmarks.training.experiment import Cell, Setup, settings_of
from benchmarks.training.learning_rates import RATES, Rates
from benchmarks.training.measure import measure
from benchmarks.training.method_api import Job
from benchmarks.training.tasks import draw
from tokensieve.model.encoder import load_encoder

HEAD = 5 * 32 + 5


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    """Each method in turn, if its package is there."""
    if request.param == "setfit":
        pytest.importorskip("setfit")
    return str(request.param)


def test_a_cell_of_every_method(method: str, setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    if method in RATES:
        monkeypatch.setitem(RATES, method, Rates(1e-2, 3e-2, 3e-2))
    record = measure(Cell("tiny", 7, 0, method), setup)
    losses = [entry["train_loss"] for entry in record["history"]]
    if method in RATES:
        assert losses[-1] < 0.95 * losses[0]
        assert record["steps"] == len(losses) * (35 // 8)
    assert record["accuracy"] > 0.2
    assert 0 < record["macro_f1"] <= 1
    assert record["texts"] == {"train": 35, "validation": 0, "test": 20, "classes": 5}
    assert record["cpu_seconds"] > 0
    inside = [seconds["wall"] for phase, seconds in record["phases"].items() if phase != "test"]
    assert sum(inside) <= record["wall_seconds"] + 0.01
    assert record["phases"]["test"]["wall"] > 0
    assert record["peak_mib"]["resident"] > 10
    assert record["trained_parameters"] >= (0 if method == "tfidf_svm" else HEAD)


def test_a_cell_of_every_method_with_several_labels_a_text(
    method: str, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    if method in RATES:
        monkeypatch.setitem(RATES, method, Rates(1e-2, 3e-2, 3e-2))
    record = measure(Cell("several", 7, 0, method), setup)
    losses = [entry["train_loss"] for entry in record["history"]]
    if method in RATES:
        # The head starts from the labels' frequencies, so that there is little to gain in twenty
        # steps.
        assert losses[-1] < losses[0]
    assert record["texts"]["classes"] == 5
    if method == "tokensieve":
        assert record["notes"]["open"] == [0, len(losses)]
    # Twenty steps lift few labels of the tiny model over the threshold.
    assert record["score"] == record["micro_f1"] >= (0 if method in RATES else 0.1)
    assert 0 <= record["accuracy"] <= 1
    assert 0 <= record["macro_f1"] <= 1
    assert record["trained_parameters"] >= (0 if method == "tfidf_svm" else HEAD)


@pytest.mark.parametrize("chosen", ["tokensieve", "end_to_end", "frozen"])
@pytest.mark.parametrize("task", ["tiny", "several"])
def test_a_cell_on_all_texts_is_validated(chosen: str, task: str, setup: Setup) -> None:
    record = measure(Cell(task, None, 0, chosen), setup)
    assert record["texts"]["validation"] >= 5
    assert all("validation_loss" in entry for entry in record["history"])


def test_the_same_cell_gives_the_same_result(setup: Setup) -> None:
    first, again = (measure(Cell("tiny", 4, 1, "tokensieve"), setup) for _ in range(2))
    assert first["history"] == again["history"]
    assert first["key"] == again["key"]


def test_trained_parameters_are_counted(setup: Setup, tiny_model: Path) -> None:
    encoder = load_encoder(tiny_model)
    layer = sum(parameter.numel() for parameter in encoder.encoder.layer[0].parameters())
    biases = sum(parameter.numel() for name, parameter in encoder.named_parameters() if name.endswith("bias"))
    counted = {
        method: _outcome(method, setup).trained for method in ("end_to_end", "last_k", "best_k", "bitfit")
    }
    # A cut at 0.67 of 4 layers leaves one.
    everything = sum(parameter.numel() for parameter in encoder.parameters())
    assert counted == {
        "end_to_end": everything + HEAD,
        "last_k": layer + HEAD,
        "best_k": layer + HEAD,
        "bitfit": biases + HEAD,
    }


def test_layers_that_are_not_chosen_stay(setup: Setup, tiny_model: Path) -> None:
    before = load_encoder(tiny_model)
    job = _job("last_k", setup)
    kept: list[Any] = []
    original = job.predictor
    object.__setattr__(job, "predictor", lambda classifier: kept.append(classifier) or original(classifier))
    function_of("last_k")(job)
    layers = kept[0].encoder.encoder.layer
    changed = [
        any(not torch.equal(a, b) for a, b in zip(layer.parameters(), old.parameters(), strict=True))
        for layer, old in zip(layers, before.encoder.layer, strict=True)
    ]
    assert changed == [False, False, False, True]


def test_rivals_keep_to_the_same_budget(setup: Setup) -> None:
    budget = 0.1 * 4 * (4 * 32 * 32 + 2 * 32 * 64)
    trained = {
        method: _outcome(method, setup).trained - HEAD for method in ("tokensieve", "fish", "random_mask")
    }
    assert all(0.8 * budget < count < 1.1 * budget for count in trained.values())


@pytest.mark.parametrize("adapter", ["lora", "shira"])
def test_merged_adapters_leave_a_plain_model_with_what_was_learned(
    adapter: str, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.methods import adapters

    found: list[Any] = []
    trained = adapters.trained

    def watched(job: Job, classifier: Any) -> Any:
        outcome = trained(job, classifier)
        found.append((classifier, outcome.predict(job.sample.test.texts)))
        return outcome

    monkeypatch.setattr(adapters, "trained", watched)
    monkeypatch.setitem(RATES, adapter, Rates(1e-2, 1e-2))
    job = _job(adapter, setup)
    outcome = function_of(adapter)(job)
    classifier, unmerged = found[0]
    assert type(classifier.encoder).__name__ == "BertModel"
    np.testing.assert_allclose(outcome.predict(job.sample.test.texts), unmerged, atol=1e-3)


def test_the_frozen_heads_penalty_is_chosen(setup: Setup) -> None:
    notes = _outcome("frozen", setup).notes
    assert set(notes["tried"]) == {f"{c:g}" for c in METHODS["frozen"].options["penalties"]}
    assert notes["tried"][f"{notes['C']:g}"] == max(notes["tried"].values())
    # With one text per class there are no folds, so no penalty is tried.
    assert len(_outcome("frozen", setup, 1).notes["tried"]) == 1


def test_setfit_sees_as_many_pairs_as_its_option_says(setup: Setup) -> None:
    pytest.importorskip("setfit")
    outcome = _outcome("setfit", setup)
    assert outcome.notes["pairs"] == 2 * 20 * 35
    assert outcome.steps == math.ceil(2 * 20 * 35 / 16)


def _job(method: str, setup: Setup, shots: int = 7) -> Job:
    cell = Cell("tiny", shots, 0, method)
    return Job(
        draw(setup.data, "tiny", shots, 0),
        settings_of(cell, setup),
        METHODS[method].options,
        Path(setup.base),
        "cpu",
        Clock("cpu"),
    )


def _outcome(method: str, setup: Setup, shots: int = 7) -> Any:
    return function_of(method)(_job(method, setup, shots))
