"""Logits of texts, with targets that are drawn from the probabilities."""

from __future__ import annotations

import numpy as np
from numpy.random import default_rng
from scipy.special import expit, softmax


def drawn(texts: int, scale: float, seed: int = 0, classes: int = 5, spread: float = 2.0):  # type: ignore[no-untyped-def]
    """Logits, and targets drawn from their softmax: `scale` times too sure, so `scale` is the right
    temperature.
    """
    draw = default_rng(seed)
    logits = draw.normal(size=(texts, classes)) * spread
    chances = softmax(logits, axis=1)
    targets = (chances.cumsum(1) > draw.random((texts, 1))).argmax(1)
    return logits * scale, targets


def several(texts: int, scale: float = 1.0, seed: int = 0):  # type: ignore[no-untyped-def]
    """Logits of four labels, and their presence drawn from the sigmoid: `scale` times too sure."""
    draw = default_rng(seed)
    logits = draw.normal(size=(texts, 4)) * 2 + np.array([0.0, -1.0, -2.0, -4.0])
    return logits * scale, (expit(logits) > draw.random((texts, 4))).astype(np.float64)
