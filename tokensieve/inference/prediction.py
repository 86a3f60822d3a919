"""The prediction for a text, and how predictions are made from logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokensieve.errors import InputError
from tokensieve.inference.decisions import Logits, decide
from tokensieve.inference.manifest import Manifest

SINGLE_TASK = ""  # the name of the task of a model that has only one

Candidate = tuple[str, float]  # a label and its calibrated probability


@dataclass(frozen=True)
class Prediction:
    """The labels of one text and how certain they are.

    Attributes:
        labels: The labels of the text with their probabilities, the most likely first. A
            single-label model gives one label, a multi-label model any number.
        uncertain: Whether the prediction is uncertain (`decisions.DecisionRule`). The prediction
            for a blank text is always uncertain.
        truncated: Whether the text has more tokens than the model reads.
        top: The most likely labels with their probabilities, whether they are given or not.
        multi_label: Whether the model may give any number of labels.
    """

    labels: tuple[Candidate, ...]
    uncertain: bool
    truncated: bool
    top: tuple[Candidate, ...]
    multi_label: bool = False

    @property
    def label(self) -> str:
        """The label of a single-label model.

        Raises:
            ValueError: If the model is multi-label.
        """
        return self._only()[0]

    @property
    def probability(self) -> float:
        """The calibrated probability of `label`.

        Raises:
            ValueError: If the model is multi-label.
        """
        return self._only()[1]

    def columns(self) -> dict[str, Any]:
        """Return the prediction as the columns of a table, without `top`."""
        flags = {"uncertain": self.uncertain, "truncated": self.truncated}
        if not self.multi_label:
            return {"label": self.label, "probability": self.probability} | flags
        labels, probabilities = [label for label, _ in self.labels], [value for _, value in self.labels]
        return {"labels": labels, "probabilities": probabilities} | flags

    def _only(self) -> Candidate:
        if self.multi_label:
            raise ValueError("the model is multi-label and may give no label or several; use labels")
        return self.labels[0]


def predictions(
    logits: Logits, manifest: Manifest, truncated: Sequence[bool], blank: Sequence[bool], top: int
) -> list[Prediction]:
    """Return the prediction for each text from its logits [texts, classes], in their order.

    Args:
        logits: The logits of the model that `manifest` describes.
        manifest: The labels and the decision rule.
        truncated: Whether each text has more tokens than the model reads.
        blank: Whether each text has no visible character.
        top: The number of most likely labels in each prediction.

    Raises:
        InputError: If `top` is less than 1.
    """
    if top < 1:
        raise InputError(f"top is {top}; allowed: at least 1")
    multi_label = bool(manifest.thresholds)
    decided = decide(logits, manifest.rule)
    order = np.argsort(-decided.probabilities, axis=1, kind="stable")
    found = []
    for row, ranked, labels, confident, cut, is_blank in zip(
        decided.probabilities, order, decided.labels, decided.confident, truncated, blank, strict=True
    ):
        candidates = tuple((manifest.labels[place], float(row[place])) for place in ranked[:top])
        given = candidates[:1]
        if multi_label:
            given = tuple((manifest.labels[place], float(row[place])) for place in ranked[labels[ranked]])
        found.append(Prediction(given, is_blank or not confident, cut, candidates, multi_label))
    return found
