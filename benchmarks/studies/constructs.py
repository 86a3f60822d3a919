"""Measure the seconds and the memory of ranking constructs on many texts.

    python -m benchmarks.studies.constructs [--sizes 20000x25 1000000x25 2000x300]

A size is the number of texts and the words per text. The texts are made: the frequencies of their
words follow Zipf's law over 50,000 words, and a fifth of the words is of the text's own class, of
50. Independent words have more different phrases than a language, so this is a hard case. Each size
is measured in a process of its own. The memory is the peak above that of the texts. Linux only.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Sequence

import numpy as np

CLASSES = 50
VOCABULARY = 50_000
OWN_WORDS = 200  # per class
OWN_SHARE = 0.2  # of the words of a text
BLOCK = 10_000  # texts that are made at a time


def make_texts(texts: int, words: int, seed: int = 0) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return random texts of `words` words each, and their labels."""
    random = np.random.default_rng(seed)
    names = np.array([f"w{number}" for number in range(VOCABULARY)])
    shares = 1 / np.arange(1, VOCABULARY + 1)
    cumulative = (shares / shares.sum()).cumsum()
    made: list[str] = []
    classes = random.integers(CLASSES, size=texts)
    for start in range(0, texts, BLOCK):
        own = classes[start : start + BLOCK, None]
        size = (len(own), words)
        drawn = np.minimum(cumulative.searchsorted(random.random(size)), VOCABULARY - 1)
        topical = VOCABULARY // 2 + own * OWN_WORDS + random.integers(OWN_WORDS, size=size)
        made += map(" ".join, names[np.where(random.random(size) < OWN_SHARE, topical, drawn)])
    labels = [(f"class {number}",) for number in range(CLASSES)]
    return made, [labels[number] for number in classes]


def _size(word: str) -> tuple[int, int]:
    """Return the number of texts and the words per text of a word like 20000x25.

    Raises:
        argparse.ArgumentTypeError: If it is another word.
    """
    texts, _, words = word.partition("x")
    if not (texts.isdecimal() and words.isdecimal() and int(texts) and int(words)):
        raise argparse.ArgumentTypeError(f"{word!r} is no size; write texts x words, for example 20000x25")
    return int(texts), int(words)


def _measure(size: tuple[int, int]) -> None:
    from tokensieve.method.constructs import rank_constructs

    texts, labels = make_texts(*size)
    before, start, used = _peak(), time.perf_counter(), time.process_time()
    found = rank_constructs(texts, labels, 2000)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    print(
        f"{size[0]:>9}x{size[1]:<4} {seconds:7.1f} s, {used:7.1f} CPU s  "
        f"{_peak() - before:7,.0f} MiB above {before:,.0f}  "
        f"best {found[0].text!r} {found[0].information}",
        flush=True,
    )


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line per size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = [(20_000, 25), (1_000_000, 25), (2_000, 300)]
    parser.add_argument("--sizes", nargs="+", type=_size, default=sizes)
    for size in parser.parse_args(arguments).sizes:
        process = multiprocessing.get_context("spawn").Process(target=_measure, args=(size,))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
