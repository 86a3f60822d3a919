"""The race of a graph's builds: how long each takes for a text, how close it stays to torch, and which one is served.

Times are noise to some degree, so that the same inputs may, rarely, give another winner: builds within `TIE` of each other count as
equally fast, and the most exact of them goes first.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from tokensieve.engine import Engine
from tokensieve.settings import Export

NAME = "race.json"
ROUNDS = 5
TIE = 1.05
EXACT = ("fp32", "fused")  # nothing but the order of sums sets them apart from torch


@dataclass(frozen=True)
class Entrant:
    """A build as measured: milliseconds a text, megabytes, and against torch on validation the largest difference of a logit, the
    share of equal answers, and its own share of right ones."""

    variant: str
    milliseconds: float
    megabytes: float
    largest_difference: float
    agreement: float
    accuracy: float

    def faults(self, limits: Export, accuracy: float) -> list[str]:
        """Which of `limits` it breaks, torch's accuracy being `accuracy`."""
        # Written so that NaN, which compares to nothing, breaks them.
        kept = {
            "tolerance": self.variant not in EXACT or self.largest_difference <= limits.tolerance,
            "agreement": self.agreement >= limits.agreement,
            "loss": accuracy - self.accuracy <= limits.loss + 1e-9,
        }
        return [name for name, is_kept in kept.items() if not is_kept]


def times(engines: Mapping[str, Engine], texts: Sequence[Sequence[int]], rounds: int = ROUNDS) -> dict[str, float]:
    """Milliseconds that each engine takes for a text of token ids, alone: the median over the texts of each one's best round.

    The engines take turns, so that what else the machine does hits all alike.
    """
    batches = [np.array([ids], dtype=np.int64) for ids in texts]
    best = {name: np.full(len(batches), np.inf) for name in engines}
    for turn in tqdm([name for _ in range(rounds) for name in engines], desc="race", unit="turn", leave=False, disable=None):
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
