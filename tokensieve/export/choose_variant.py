"""Choose the variant of a graph to serve: the fastest one that agrees well enough with PyTorch.

Times vary, so the same inputs may give another choice, but rarely. Variants within `SAME_SPEED` of
each other count as equally fast, and the most exact of them comes first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tokensieve.bars import Bar
from tokensieve.evaluation import intervals
from tokensieve.evaluation.report import Comparison
from tokensieve.inference.session import Engine
from tokensieve.settings import Export

ROUNDS = 5
SAME_SPEED = 1.05  # ratio of times
EXACT = ("fp32", "fused")  # variants that differ from PyTorch only in the order of sums


@dataclass(frozen=True)
class VariantResult:
    """The measurements of a variant.

    Attributes:
        variant: Its name.
        milliseconds: The time per text, on one thread.
        megabytes: The size of its graph.
        largest_difference: The largest difference between its logits and PyTorch's.
    """

    variant: str
    milliseconds: float
    megabytes: float
    largest_difference: float


def violations(variant: str, found: Comparison, limits: Export) -> dict[str, str]:
    """Return the limits that a variant violates, by setting, each with the measured value.

    The variants fp32 and fused do the same operations as PyTorch, so only their logits are
    compared. The predictions of other variants must agree with PyTorch's if one of the two is
    confident. There is a limit on the measured share of agreement, and another one on its lower
    confidence bound.
    """
    if variant in EXACT:
        # Any comparison with NaN is false, so NaN violates the limit.
        kept = found.largest_difference <= limits.max_logit_difference
        return {} if kept else {"tolerance": f"logits differ by {found.largest_difference:.2g}"}
    needed = min(limits.min_proven_agreement, limits.min_confident_agreement)
    is_worse = (
        found.accuracy_drop > limits.max_accuracy_drop + 1e-9
        and found.accuracy_drop_chance < 1 - intervals.LEVEL
    )
    is_shifted = (
        abs(found.coverage_change) > limits.max_coverage_change + 1e-9
        and found.coverage_change_chance < 1 - intervals.LEVEL
    )
    texts, least = f"{found.confident_texts:,} confident answers", intervals.texts_needed(needed)
    checks = {
        "tolerance": (math.isfinite(found.largest_difference), "its logits are not numbers"),
        "min_confident_agreement": (
            found.confident_agreement >= limits.min_confident_agreement,
            f"{found.confident_agreement:.2%} of {texts} agree",
        ),
        "min_proven_agreement": (
            found.proven_agreement >= needed,
            f"{texts} show an agreement of at least {found.proven_agreement:.1%} (95% confidence)"
            f"{f'; {needed:.1%} needs {least:,} or more' if found.confident_texts < least else ''}",
        ),
        "max_accuracy_drop": (not is_worse, f"accuracy drops by {found.accuracy_drop:.4f}"),
        "max_coverage_change": (not is_shifted, f"{found.coverage_change:+.1%} confident answers"),
        "max_calibration_rise": (
            found.calibration_rise <= limits.max_calibration_rise,
            f"calibration error rises by {found.calibration_rise:.4f}",
        ),
    }
    return {name: measured for name, (is_kept, measured) in checks.items() if not is_kept}


def times(
    engines: Mapping[str, Engine], texts: Sequence[Sequence[int]], rounds: int = ROUNDS
) -> dict[str, float]:
    """Return the milliseconds per text of each engine.

    They are the median over the texts; of each text, the fastest of `rounds` rounds counts. Each
    text, a list of token ids, is run alone. The engines take turns, so that other load on the
    machine affects all of them.
    """
    batches = [np.array([ids], dtype=np.int64) for ids in texts]
    best = {name: np.full(len(batches), np.inf) for name in engines}
    for turn in Bar([name for _ in range(rounds) for name in engines], "timing", "turn"):
        for place, batch in enumerate(batches):
            start = time.perf_counter()
            engines[turn].run(batch)
            best[turn][place] = min(best[turn][place], (time.perf_counter() - start) * 1000)
    return {name: float(np.median(found)) for name, found in best.items()}


def rank(results: Sequence[VariantResult]) -> list[VariantResult]:
    """Return the results, the fastest first. Of equally fast ones, the most exact comes first."""
    left, order = sorted(results, key=lambda result: result.milliseconds), []
    while left:
        ties = [result for result in left if result.milliseconds <= left[0].milliseconds * SAME_SPEED]
        order.append(min(ties, key=lambda result: result.largest_difference))
        left.remove(order[-1])
    return order
