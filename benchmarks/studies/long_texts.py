"""Measure ways to read texts that are longer than `base.max_length`.

    python -m benchmarks.studies.long_texts [--data FILE] [--classes 6] [--texts 30]

The texts are planted: each is a sequence of short texts of FILE (the sample's by default), of
random classes, and has the label of the last one. So the label does not depend on the beginning. A
third of the texts is the test. `cut` is the share of the texts longer than the model reads.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import reports_input_errors
from tokensieve import fit
from tokensieve.data.raw_data import read_examples
from tokensieve.truncation import HEAD, HEAD_TAIL

WORDS = 400  # per text
WAYS = ((HEAD, 128), (HEAD_TAIL, 128), (HEAD_TAIL, 64), (HEAD, 512))


def plant(path: Path, classes: int, texts: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return `texts` long texts for each of the first `classes` classes, and their labels."""
    examples, chance = read_examples(path), random.Random(seed)
    names = sorted({own[0] for own in examples.labels})[:classes]
    short: dict[str, list[str]] = {name: [] for name in names}
    for text, (name,) in zip(examples.texts, examples.labels, strict=True):
        if name in short:
            short[name].append(text)
    everything = [text for own in short.values() for text in own]
    found = []
    for name in names:
        for end in chance.sample(short[name], texts):
            sentences: list[str] = []
            while sum(len(sentence.split()) for sentence in sentences) < WORDS:
                sentences.append(chance.choice(everything))
            found.append((". ".join([*sentences, end]), name))
    chance.shuffle(found)
    return [text for text, _ in found], [name for _, name in found]


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line per way to read. Return status 2 for invalid input."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data/freight/train.csv"))
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--texts", type=int, default=30, help="per class")
    options = parser.parse_args(arguments)
    texts, labels = plant(options.data, options.classes, options.texts)
    tested = len(texts) // 3
    for truncation, most in WAYS:
        start, used = time.perf_counter(), time.process_time()
        model = fit(texts[tested:], labels[tested:], base={"truncation": truncation, "max_length": most})
        seconds, used = time.perf_counter() - start, time.process_time() - used
        accuracy = model.evaluate(texts[:tested], labels[:tested])["test_accuracy"]
        cut = sum(found.truncated for found in model.predict(texts[:tested])) / tested
        print(
            f"{truncation:9} {most:4} tokens  cut {cut:6.1%}  accuracy {accuracy:.3f} on {tested} texts  "
            f"training {used:6.1f} CPU s, {seconds:6.1f} s",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
