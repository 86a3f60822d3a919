"""Measure what `data.clean=html` costs per text.

Run: python -m benchmarks.studies.cleaning [--texts data/freight/train.csv]

The texts as they are, and each as an HTML mail: paragraphs, bold words and entities.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import reports_input_errors
from tokensieve.cleaning import strip_html
from tokensieve.data.raw_data import read_examples

ROUNDS = 5


@reports_input_errors
def main() -> int:
    """Print microseconds per text, the median of `ROUNDS` passes. Return status 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path, default=Path("data/freight/train.csv"))
    texts = read_examples(parser.parse_args().texts).texts
    for name, own in (("plain", texts), ("HTML", list(map(as_html, texts)))):
        size = sum(map(len, own)) / len(own)
        print(f"{name}: {len(own):,} texts of {size:.0f} characters, {cost(own):.1f} µs per text")
    return 0


def as_html(text: str) -> str:
    """Return a text as an HTML mail would have it."""
    first, _, rest = text.partition(" ")
    return f"<p>Dear all,</p><p><b>{first}</b>&nbsp;{rest}<br></p><p>Kind regards &amp; thanks</p>"


def cost(texts: Sequence[str]) -> float:
    """Return the microseconds of processor time per text, the median of `ROUNDS` passes."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for text in texts:
            strip_html(text)
        seconds.append(time.process_time() - began)
    return 1e6 * statistics.median(seconds) / len(texts)


if __name__ == "__main__":
    sys.exit(main())
