"""Measure the baselines of the verdict: what they reach, in which time, and what letters would add.

    python -m benchmarks.studies.baselines --data DIR --tasks banking77 hwu64

`words` is the baseline of each run, a linear SVM on TF-IDF of words. `pairs` also has pairs of
words, and `letters` has sequences of 2 to 5 letters in addition.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_union
from sklearn.svm import LinearSVC

from benchmarks.command import reports_input_errors
from benchmarks.training.tasks import Sample, draw
from tokensieve.evaluation.baselines import measure_baselines
from tokensieve.inference.words import word_pattern


def rows(sample: Sample) -> Iterator[tuple[str, float, float]]:
    """Yield the name of each baseline, its accuracy on the test texts, and its seconds."""
    targets = (sample.targets(sample.train).numpy(), sample.targets(sample.test).numpy())
    start = time.perf_counter()
    found = measure_baselines(sample.train, sample.test.texts, targets, np.ones(len(sample.test), dtype=bool))
    seconds = time.perf_counter() - start
    yield "majority", found.majority.accuracy, 0.0
    if found.tfidf:
        yield "words", found.tfidf.accuracy, seconds
    pairs = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=word_pattern())
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    for name, features in (("pairs", pairs), ("letters", make_union(pairs, letters))):
        start = time.perf_counter()
        machine = LinearSVC(random_state=0).fit(features.fit_transform(sample.train.texts), targets[0])
        accuracy = machine.score(features.transform(sample.test.texts), targets[1])
        yield name, float(accuracy), time.perf_counter() - start


@reports_input_errors
def main() -> int:
    """Print a line per task and baseline. Return status 2 for invalid input."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder per task")
    parser.add_argument("--tasks", nargs="+", required=True, help="single-label tasks")
    options = parser.parse_args()
    for task in options.tasks:
        sample = draw(options.data, task, None, 0)
        for name, accuracy, seconds in rows(sample):
            print(
                f"{task:12} {len(sample.train):6} texts  {name:8} {accuracy:.4f}  {seconds:5.1f} s",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
