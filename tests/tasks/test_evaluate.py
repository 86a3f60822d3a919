"""The evaluate stage on a tiny project, and what it fits on few texts."""

from __future__ import annotations

import csv
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tasks import cross_fit
from tasks import evaluate as evaluation
from tasks.artifacts import SplitSizes
from tasks.evaluate import evaluate
from tasks.finetune import finetune
from tasks.mask import mask
from tasks.vocabulary import vocabulary
from tokensieve import progress
from tokensieve.data.examples import Examples
from tokensieve.evaluation import shortcuts
from tokensieve.evaluation.report import is_for_threshold
from tokensieve.evaluation.shortcuts import SharedPhrase
from tokensieve.files import read_json, sha256, write_json
from tokensieve.inference.decisions import Decisions
from tokensieve.project import Layout
from tokensieve.settings import Settings, render
from tokensieve.training import loop


@pytest.fixture
def layout(tiny_model: Path, tiny_texts: tuple[list[str], list[str]], tmp_path: Path) -> Layout:
    """A project that is trained and ready to be evaluated, with texts out of scope."""
    layout = Layout(tmp_path / "project")
    layout.split.mkdir(parents=True)
    examples = Examples.of(*tiny_texts)
    parts = {
        name: examples.take([i for i in range(60) if i % 5 in places]) for name, places in PLACES.items()
    }
    parts["oos"] = Examples.of([f"{text} {i}" for i, text in enumerate(tiny_texts[0])])
    for name, part in parts.items():
        part.save(layout.split / f"{name}.jsonl")
    write_json(layout.split / "labels.json", sorted(set(tiny_texts[1])))
    SplitSizes(**{name: len(part) for name, part in parts.items()}).save(layout.split)
    small = {
        "finetune": {"threads": 1, "max_epochs": 2},
        "base": {"model": str(tiny_model), "max_length": 32},
        "evaluate": {"calibration_folds": 3},
    }
    layout.params.write_text(render(Settings.of(small)))
    settings = Settings.load(layout.params)
    for stage in (vocabulary, mask, finetune):
        stage(layout, settings)
    return layout


PLACES = {"train": (0, 1, 2), "validation": (3,), "test": (4,)}


def test_few_validation_texts_are_supplemented_by_cross_fitting(
    layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    weights = sha256(layout.model / "model.safetensors")
    with caplog.at_level(logging.INFO, logger="tokensieve"):
        evaluate(layout, Settings.load(layout.params))
    report, logits = (
        read_json(layout.evaluation / "report.json"),
        load_file(layout.evaluation / "logits.safetensors"),
    )
    assert report["calibration_texts"] == 12 + 36
    chose = is_for_threshold(Examples.load(layout.split / "oos.jsonl").texts).sum()
    assert (report["calibration_oos_texts"], report["oos_texts"]) == (chose, 60 - chose)
    low, high = report["threshold_interval"]
    assert low <= report["threshold"] <= high
    assert (
        report["test_accuracy_interval"][0] <= report["test_accuracy"] <= report["test_accuracy_interval"][1]
    )
    assert {name: len(found) for name, found in logits.items()} == {"validation": 12, "test": 12, "oos": 60}
    assert sha256(layout.model / "model.safetensors") == weights
    assert set(report["baselines"]) == {"majority", "tfidf"}
    assert 0 <= report["baselines"]["tfidf"]["accuracy"] <= 1
    assert report["verdict"]["sentence"].endswith(".")
    assert report["shortcuts"] == []
    with (layout.evaluation / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["part"] for row in rows] == ["validation"] * 12 + ["test"] * 12
    right = [row["label"] == row["predicted"] for row in rows if row["part"] == "test"]
    assert sum(right) / len(right) == report["test_accuracy"]
    lines = [record.getMessage() for record in caplog.records]
    assert any(
        "12 validation texts: calibrating on the training texts too. This trains 3 models" in line
        for line in lines
    )
    assert not any("epoch" in line for line in lines)


def test_cross_fitting_logs_how_far_it_is_although_no_epoch_is_logged(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No epoch takes as long as the limit of silence, but two do."""
    now, logged = [time.monotonic()], threading.Event()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(progress, "SILENCE_SECONDS", 0.01)
    monkeypatch.setattr(progress, "CHECK_SECONDS", 0.01)
    log_epoch = loop._log_epoch

    def slow_epoch(*given: Any) -> None:
        now[0] += 0.007
        log_epoch(*given)
        logged.wait(0.3)

    monkeypatch.setattr(loop, "_log_epoch", slow_epoch)
    monkeypatch.setattr(caplog.handler, "emit", _setting(logged, "evaluate ", caplog.handler.emit))
    with caplog.at_level(logging.INFO, logger="tokensieve"), progress.log_while_running("evaluate"):
        cross_fit.out_of_fold(layout, Settings.load(layout.params), torch.randn(12, 5))
    assert any(line.startswith("evaluate   0 s so far: cross-fitting, ") for line in caplog.messages)
    assert not any(line.startswith("  epoch ") for line in caplog.messages)


def _setting(
    event: threading.Event, start: str, emit: Callable[[logging.LogRecord], None]
) -> Callable[[logging.LogRecord], None]:
    """Return a handler's `emit` that sets `event` at the first line that begins with `start`."""

    def emit_and_set(record: logging.LogRecord) -> None:
        emit(record)
        if record.getMessage().startswith(start):
            event.set()

    return emit_and_set


def test_each_text_is_left_out_of_the_model_that_judges_it(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[set[str]] = []
    judged: list[set[str]] = []
    real = cross_fit._train_fold
    monkeypatch.setattr(
        cross_fit, "_train_fold", lambda *given: trained.append(set(given[2].texts)) or real(*given)
    )
    inputs = cross_fit._inputs
    monkeypatch.setattr(
        cross_fit, "_inputs", lambda *given: judged.append(set(given[2].texts)) or inputs(*given)
    )
    logits, targets = cross_fit.out_of_fold(layout, Settings.load(layout.params), torch.randn(12, 5))
    assert logits.shape == (36, 5)
    assert len(targets) == 36
    assert len(trained) == 3
    # Each model reads its training texts, those of validation, and then the texts that it judges.
    for texts, held in zip(trained, judged[2::4], strict=True):
        assert not texts & held
        assert len(texts | held) == 36


def test_models_that_are_surer_of_everything_are_scaled_down(layout: Layout) -> None:
    settings = Settings.load(layout.params)
    checked = torch.randn(12, 5)
    plain, _ = cross_fit.out_of_fold(layout, settings, checked)
    scaled, _ = cross_fit.out_of_fold(layout, settings, checked * 3)
    torch.testing.assert_close(scaled, plain * 3)


@pytest.mark.parametrize(("texts", "folds", "needed"), [(99, 4, True), (100, 4, False), (99, 0, False)])
def test_only_a_small_validation_part_needs_help(
    tmp_path: Path, texts: int, folds: int, needed: bool
) -> None:
    layout = Layout(tmp_path)
    layout.split.mkdir(parents=True)
    SplitSizes(800, texts, 100).save(layout.split)
    assert cross_fit.is_needed(layout, Settings.of({"evaluate": {"calibration_folds": folds}})) is needed


def test_a_phrase_that_the_model_takes_for_a_class_is_in_report_and_verdict(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.load(layout.params)
    label = Examples.load(layout.split / "train.jsonl").labels[0][0]
    phrase = SharedPhrase("sent by form", label, 10, 12, 0)
    monkeypatch.setattr(evaluation, "shared_phrases", lambda texts, labels: [phrase])
    monkeypatch.setattr(shortcuts, "MOVED", 0.0)
    evaluate(layout, settings)
    report = read_json(layout.evaluation / "report.json")
    (found,) = report["shortcuts"]
    assert found["phrase"] == asdict(phrase)
    assert found["tried"] == sum(
        names != (label,) for names in Examples.load(layout.split / "test.jsonl").labels
    )
    assert report["verdict"]["remedies"][0].startswith(f"texts of '{label}' without 'sent by form'")


def test_what_gets_a_label_is_asked_of_the_decisions() -> None:
    ranks, has = np.array([[1, 0], [0, 1]]), np.array([[True, True], [False, True]])
    for labels, expected in ((ranks, [True, False]), (has, [True, True])):
        decisions = Decisions(labels, np.ones((2, 2)), np.ones(2, bool))
        found = evaluation._gets(lambda texts, own=decisions: own, ["a", "b"], ["x", "y"], "b")
        assert found.tolist() == expected
