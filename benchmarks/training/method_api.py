"""The input and the output of a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.timing import Clock
from benchmarks.training.tasks import Sample
from tokensieve.data.examples import Examples
from tokensieve.model.batches import Inputs, tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import choose_pooling, load_base_tokenizer, load_encoder, load_tokenizer
from tokensieve.model.state_cache import cache_states
from tokensieve.settings import Settings
from tokensieve.training.loop import compute_logits


@dataclass(frozen=True)
class Outcome:
    """A trained classifier.

    Attributes:
        predict: A function from texts to scores [texts, classes]. The label of a text has the
            highest score. In a multi-label task, its labels have scores above 0 (a probability
            of 1/2).
        trained: The number of trained parameters.
        history: One record per epoch.
        steps: The number of optimizer steps.
        notes: The choices of the method.
    """

    predict: Callable[[Sequence[str]], NDArray[Any]]
    trained: int
    history: list[dict[str, Any]] = field(default_factory=list)
    steps: int = 0
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A sample to train on, with the base model in `folder`. `clock` measures each phase."""

    sample: Sample
    settings: Settings
    options: Mapping[str, Any]
    folder: Path
    device: str
    clock: Clock

    @property
    def seed(self) -> int:
        return self.settings.data.seed

    def classifier(self) -> Classifier:
        """Return the untrained classifier. All methods get the same head for the same seed."""
        with self.clock.phase("load"):
            encoder = load_encoder(self.folder)
            torch.manual_seed(self.seed)
            return self.ready(
                Classifier(
                    encoder, choose_pooling(self.folder, self.settings.base.pooling), self.sample.labels
                ).eval()
            )

    def ready(self, classifier: Classifier) -> Classifier:
        """Return the new classifier on the job's device.

        In a multi-label task, its head starts from the frequencies of the labels.
        """
        if self.sample.multi_label:
            classifier.init_head_bias_from_priors(self.sample.targets(self.sample.train))
        return classifier.to(self.device)

    def inputs(self, part: Examples, classifier: Classifier, cut: int = 0) -> Inputs:
        """Return the texts of a part, with the states that enter layer `cut` in memory."""
        with self.clock.phase("tokenize"):
            tokenizer = load_base_tokenizer(self.folder, self.settings.base.prompt)
            ids = tokenize(tokenizer, part.texts, self.settings.base.max_length)
        with self.clock.phase("cache"):
            return cache_states(Inputs(ids, self.device), classifier, cut)

    def pair(self, part: Examples, classifier: Classifier, cut: int = 0) -> tuple[Inputs, Tensor]:
        """Return the inputs and targets of a part."""
        return self.inputs(part, classifier, cut), self.sample.targets(part)

    def predictor(
        self, classifier: Classifier, tokenizer: Path | None = None
    ) -> Callable[[Sequence[str]], NDArray[Any]]:
        """Return a function from texts to logits of the whole model."""
        base = self.settings.base
        loaded = load_tokenizer(tokenizer) if tokenizer else load_base_tokenizer(self.folder, base.prompt)
        return lambda texts: compute_logits(
            classifier, Inputs(tokenize(loaded, texts, base.max_length), self.device)
        ).numpy()
