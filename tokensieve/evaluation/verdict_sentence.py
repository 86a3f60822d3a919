"""A verdict as one sentence."""

from __future__ import annotations

from collections.abc import Sequence


def in_one_sentence(good_for: str, advice: str, remedies: Sequence[str]) -> str:
    """Return a verdict with its first remedy as one sentence."""
    help_most = f"; what would help most: {remedies[0]}" if remedies else ""
    return f"{good_for}: {advice}{help_most}."
