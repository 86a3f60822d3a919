"""Compare the builds of a graph: how long each takes per text, how its answers differ from PyTorch's, and which one is served.

Times are noise to some degree, so that the same inputs may, rarely, give another winner: builds within `TIE` of each other count as
equally fast, and the most exact of them goes first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from tokensieve.evaluation import intervals
from tokensieve.evaluation.report import Comparison
from tokensieve.inference.session import Engine
from tokensieve.settings import Export

NAME = "race.json"
ROUNDS = 5
TIE = 1.05
EXACT = ("fp32", "fused")  # only the order of sums differs from PyTorch


@dataclass(frozen=True)
class Entrant:
    """A build with its milliseconds per text, its megabytes, and how far its logits are from PyTorch's on the texts that were timed."""

    variant: str
    milliseconds: float
    megabytes: float
    largest_difference: float


def faults(variant: str, found: Comparison, limits: Export) -> dict[str, str]:
    """Return which of `limits` a build breaks, by the setting's name, with what was measured.

    fp32 and fused compute what PyTorch computes, so their logits are all that is asked of them. Other builds must answer as PyTorch
    does wherever one of the two is confident: the measured share must reach the limit, and the texts must prove a lower one.
    """
    if variant in EXACT:
        # Written so that NaN, which compares to nothing, breaks it.
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
    texts = f"{found.confident_texts:,} confident answers"
    checks = {
        "tolerance": (math.isfinite(found.largest_difference), "its logits are not numbers"),
        "min_confident_agreement": (
            found.confident_agreement >= limits.min_confident_agreement,
            f"{found.confident_agreement:.2%} of {texts} agree",
        ),
        "min_proven_agreement": (
            found.proven_agreement >= needed,
            f"{texts} show an agreement of at least {found.proven_agreement:.1%} (95% confidence); "
            f"{needed:.1%} needs {intervals.texts_needed(needed):,} or more",
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
    """Milliseconds that each engine takes for a text of token ids, alone: the median over the texts of each one's best round.

    The engines take turns, so that what else the machine does hits all alike.
    """
    batches = [np.array([ids], dtype=np.int64) for ids in texts]
    best = {name: np.full(len(batches), np.inf) for name in engines}
    for turn in tqdm(
        [name for _ in range(rounds) for name in engines], desc="race", unit="turn", leave=False, disable=None
    ):
        for place, batch in enumerate(batches):
            start = time.perf_counter()
            engines[turn].run(batch)
            best[turn][place] = min(best[turn][place], (time.perf_counter() - start) * 1000)
    return {name: float(np.median(found)) for name, found in best.items()}


def ranked(entrants: Sequence[Entrant]) -> list[Entrant]:
    """The fastest first; where others are as fast as it within `TIE`, the most exact of them."""
    left, order = sorted(entrants, key=lambda entrant: entrant.milliseconds), []
    while left:
        ties = [entrant for entrant in left if entrant.milliseconds <= left[0].milliseconds * TIE]
        order.append(min(ties, key=lambda entrant: entrant.largest_difference))
        left.remove(order[-1])
    return order
