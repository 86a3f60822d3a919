"""The scores of a method's predictions, the same for all methods."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from tokensieve.evaluation.metrics import macro_f1, micro_f1


def figures(scores: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
    """Figures of scores [texts, classes] for targets int64 [texts]: accuracy and macro F1; methods are compared by accuracy.

    For targets float32 [texts, classes] of 0 and 1: a label is decided on where its score is above 0, accuracy is the share of texts
    with all labels right, and methods are compared by micro F1, as those of NLU++ are (Casanueva et al. 2022).
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
