"""Measure how much of the texts is truncated, and describe the remedy."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tokensieve.settings import Base
from tokensieve.truncation import HEAD

MAX_COUNTED_TEXTS = 20_000  # per part; in larger parts, the tokens of a sample are counted


def sampling_step(texts: int) -> int:
    """Return the number k if the tokens of every k-th text are counted, of `texts` texts in all.

    With it, counting takes little time for large data too.
    """
    return max(1, math.ceil(texts / MAX_COUNTED_TEXTS))


def truncation_summary(lengths: Sequence[int], most: int) -> dict[str, Any]:
    """Return how many texts have more than `most` tokens, and how many tokens they lose.

    The medians are over the texts that are truncated. `lengths` has the number of tokens of each
    whole text, with special tokens.
    """
    longer = [length for length in lengths if length > most]
    return {
        "texts": len(lengths),
        "truncated": len(longer),
        "share": round(len(longer) / len(lengths), 4) if lengths else 0.0,
        "median_tokens_unread": int(statistics.median(length - most for length in longer)) if longer else 0,
        "median_share_unread": round(statistics.median((length - most) / length for length in longer), 4)
        if longer
        else 0.0,
        "max_length": most,
    }


def length_distribution(lengths: Sequence[int]) -> dict[str, Any]:
    """Return quantiles and a histogram of the numbers of tokens.

    The classes of the histogram end at powers of two: (most tokens, texts).
    """
    if not lengths:
        return {"median": 0, "p90": 0, "p99": 0, "longest": 0, "histogram": []}
    ordered = sorted(lengths)
    quantiles = {
        name: ordered[min(len(ordered) - 1, int(share * len(ordered)))]
        for name, share in (("median", 0.5), ("p90", 0.9), ("p99", 0.99))
    }
    counts = Counter(2 ** math.ceil(math.log2(max(1, length))) for length in lengths)
    return {**quantiles, "longest": ordered[-1], "histogram": sorted(counts.items())}


def truncation_message(lengths: Sequence[int], settings: Base, positions: int | None) -> str:
    """Return a message about the truncated texts, with the remedy.

    `positions` is the maximum number of tokens that the base model can read; None if not known.
    """
    found, most = truncation_summary(lengths, settings.max_length), settings.max_length
    remedies = []
    if positions is None or positions > most:
        remedies.append(
            "raise base.max_length" + (f" (at most {positions:,} for this model)" if positions else "")
        )
    if settings.truncation == HEAD:
        remedies.append("read both ends with base.truncation=head_tail")
    return (
        f"{found['share']:.1%} of the texts ({found['truncated']:,} of {found['texts']:,}) have more than "
        f"{most} tokens (base.max_length); in half of these at least {found['median_tokens_unread']:,} "
        f"tokens are not read ({found['median_share_unread']:.0%} of the text): "
        f"{', or '.join(remedies) or 'shorten the texts'}"
    )
