"""Score the predictions of a method, with the same functions for all methods."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from tokensieve.evaluation.metrics import macro_f1, micro_f1


def figures(scores: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
    """Return the figures of a method.

    They are accuracy and macro F1. For multi-label data, accuracy is the share of texts with
    exactly the correct labels, and there is micro F1 too. `score` is the figure by which methods
    are compared: accuracy, or micro F1 for multi-label data, as in NLU++ (Casanueva et al. 2022).

    Args:
        scores: [texts, classes]. For multi-label data, labels with a score above 0 are predicted.
        targets: int64 [texts], or for multi-label data float32 [texts, classes] of 0 and 1.
    """
    if targets.ndim == 1:
        accuracy = float((scores.argmax(1) == targets).mean())
        macro = macro_f1(targets, scores.argmax(1))
        return {"score": accuracy, "accuracy": accuracy, "macro_f1": macro}
    decided = scores > 0
    micro = micro_f1(targets, decided)
    return {
        "score": micro,
        "accuracy": float((decided == (targets > 0)).all(1).mean()),
        "macro_f1": macro_f1(targets, decided),
        "micro_f1": micro,
    }
