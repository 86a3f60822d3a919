"""Rows of new tokens that are fitted: only they change, and they come closer to their goal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.methods import METHODS, function_of, masked
from benchmarks.methods.new_tokens import overlap_shares
from benchmarks.timing import Clock
from benchmarks.training.experiment import Cell, Setup, settings_of
from benchmarks.training.method_api import Job
from benchmarks.training.tasks import draw
from tokensieve.fitting import encode
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import load_encoder, load_tokenizer

FITTED = [name for name, method in METHODS.items() if method.module == "new_tokens"]


def test_a_new_token_replaces_the_tokens_that_share_its_characters() -> None:
    # "[CLS] topup now [SEP]": "topup" was "top" and "##up".
    old = [(0, 0), (0, 3), (3, 5), (6, 9), (0, 0)]
    new = [(0, 0), (0, 5), (6, 9), (0, 0)]
    assert overlap_shares(new, old).tolist() == [
        [1, 0, 0, 0, 0],
        [0, 0.5, 0.5, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1],
    ]


def _bases(method: str, setup: Setup, monkeypatch: pytest.MonkeyPatch, **options: float) -> dict[str, Any]:
    """Return the tensors of the base model that `method` trains on, and the texts' vectors."""
    found: dict[str, Any] = {}
    original = masked.tokensieve

    def watched(job: Job) -> Any:
        encoder = load_encoder(job.folder)
        classifier = Classifier(encoder, job.settings.base.pooling, job.sample.labels).eval()
        texts = job.sample.train.texts
        inputs = encode(load_tokenizer(job.folder), texts, classifier, job.settings)
        with torch.no_grad():
            found["vectors"] = inputs.batch(range(len(texts))).features(classifier)
        found["state"] = encoder.state_dict()
        return original(job)

    monkeypatch.setattr(masked, "tokensieve", watched)
    cell = Cell("tiny", 7, 0, method)
    sample = draw(setup.data, "tiny", 7, 0)
    settings = settings_of(cell, setup)
    chosen = METHODS[method].options | options
    outcome = function_of(method)(Job(sample, settings, chosen, Path(setup.base), "cpu", Clock("cpu")))
    assert outcome.notes["new_tokens"] > 0
    return found


@pytest.mark.parametrize("method", FITTED)
def test_only_the_new_rows_are_fitted(method: str, setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = load_encoder(Path(setup.base)).state_dict(), _bases(method, setup, monkeypatch)["state"]
    rows = "embeddings.word_embeddings.weight"
    size = len(before[rows])
    assert torch.equal(after[rows][:size], before.pop(rows))
    assert len(after[rows]) > size
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_fitted_vectors_are_closer_to_those_of_the_old_pieces(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vectors(epochs: int) -> Tensor:
        with monkeypatch.context() as patch:
            # The weights of the tiny model are small, so it needs a higher rate.
            found: Tensor = _bases("distilled_vectors", setup, patch, epochs=epochs, learning_rate=0.03)[
                "vectors"
            ]
        return found

    job_settings = settings_of(Cell("tiny", 7, 0, "distilled_vectors"), setup)
    sample = draw(setup.data, "tiny", 7, 0)
    classifier = Classifier(load_encoder(Path(setup.base)), "mean", sample.labels).eval()
    settings = replace(job_settings, base=replace(job_settings.base, pooling="mean"))
    inputs = encode(load_tokenizer(Path(setup.base)), sample.train.texts, classifier, settings)
    with torch.no_grad():
        wanted = inputs.batch(range(len(inputs))).features(classifier)
    start, fitted = ((vectors(epochs) - wanted).square().mean() for epochs in (0, 20))
    assert fitted < 0.7 * start
