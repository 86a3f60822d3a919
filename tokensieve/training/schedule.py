"""The training schedule: which layers train in which epoch, and the learning rates over the steps.

1. Only the head, on cached states. The gradients of an untrained head would only disturb the
   layers. This is LP-FT, linear probing and then fine-tuning (Kumar et al. 2022, arXiv 2202.10054).
2. The head and all layers that are not frozen, in the full-depth epochs.
3. The head and the top layers, on cached states. The learning rates are now too low for lower
   layers to learn much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from tokensieve.method.select import first_top_layer
from tokensieve.model.batches import Inputs
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_layers
from tokensieve.model.state_cache import cache_states
from tokensieve.settings import Schedule as ScheduleSettings

HEAD, ALL_LAYERS, TOP_LAYERS = "head", "all", "top"

Pair = tuple[Inputs, Tensor]
"""Texts, and their targets: int64 [texts], or for multi-label data float32 [texts, classes]."""


@dataclass(frozen=True)
class Schedule:
    """Which layers train in which epoch.

    Attributes:
        top: The lowest layer that still trains after the full-depth epochs.
        all_layers: The full-depth epochs, numbered from 0. Before them, only the head trains.
        folder: The folder in which cached states are stored; None if they stay in memory.
        key: The beginning of the names of their files. It must identify the training.
    """

    top: int
    all_layers: range = range(0)
    folder: Path | None = None
    key: str = ""

    def phase(self, epoch: int) -> str:
        """Return the phase of an epoch, numbered from 0: HEAD, ALL_LAYERS or TOP_LAYERS."""
        if epoch in self.all_layers:
            return ALL_LAYERS
        return HEAD if epoch < self.all_layers.start else TOP_LAYERS

    def inputs_of(self, classifier: Classifier, inputs: Inputs, part: str, phase: str) -> Inputs:
        """Return `inputs` unchanged, or with the states that enter the lowest layer that trains.

        `part` (train or validation) is a part of the names of the files of the states.

        Raises:
            InputError: If the disk has no room for the states.
        """
        if phase == ALL_LAYERS:
            return inputs
        layer = self.top if phase == TOP_LAYERS else len(encoder_layers(classifier.encoder))
        return cache_states(inputs, classifier.eval(), layer, self.folder, f"{self.key}-{part}-{phase}")


def plan_schedule(
    classifier: Classifier,
    settings: ScheduleSettings,
    epochs: int,
    every_epoch: bool,
    folder: Path | None = None,
    key: str = "",
) -> Schedule:
    """Return the schedule of `epochs` epochs.

    With `every_epoch`, all layers that are not frozen train in each of them. This is the schedule
    for multi-label data, and for tasks far from pre-training (`probe.is_far_from_pretraining`).
    """
    top = first_top_layer(classifier, settings)
    return Schedule(top, full_depth_epochs(settings, epochs, every_epoch), folder, key)


def full_depth_epochs(settings: ScheduleSettings, epochs: int, every_epoch: bool) -> range:
    """Return the full-depth epochs, in which all layers that are not frozen train.

    They are all `epochs` epochs with `every_epoch`, otherwise a share of them after the epochs of
    the head.
    """
    if every_epoch:
        return range(epochs)
    start = math.floor(settings.head_epochs * epochs)
    return range(
        start,
        min(epochs, start + max(round(settings.all_layer_epochs * epochs), settings.all_layer_epochs > 0)),
    )


def learning_rate_factor(step: int, steps: int, warmup: float) -> float:
    """Return the factor on the learning rates at `step` (from 0) of `steps`.

    It rises linearly to 1 over the share `warmup` of the steps, then falls linearly to 0.
    """
    rise = max(1, round(steps * warmup))
    return (step + 1) / rise if step < rise else max(0.0, (steps - step) / max(1, steps - rise))
