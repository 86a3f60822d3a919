"""Baselines: what the most frequent class and TF-IDF reach on the same test texts.

Both take about a second. They show whether the model is worth its training: on some data, a linear
SVM on TF-IDF is as good (Wang and Manning 2012, aclanthology.org/P12-2018). Pairs of words are no
better than words on five data sets; sequences of letters are, by 0 to 5 points, but take longer
(`python -m benchmarks.studies.baselines`).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

from tokensieve.bars import Bar
from tokensieve.data.examples import Examples
from tokensieve.evaluation import intervals, metrics
from tokensieve.evaluation.metrics import Bools, Ints, Targets
from tokensieve.inference.words import is_unspaced, word_pattern

# Limits of the training, so that it takes seconds on large data too.
MAX_PAIRS = 3_000_000  # training texts times classes: one linear model is fitted per class
MAX_CHARACTERS = 10_000_000  # in all training texts together
MAX_TEXT = 5_000  # characters that are read of a text
MAX_FEATURES = 200_000
MAX_LOOKED_AT = 200  # texts that are searched for a script without spaces


@dataclass(frozen=True)
class Baseline:
    """A baseline on the test texts, and how it differs from the model on the same texts.

    Attributes:
        accuracy: Share of the texts with exactly their label or labels.
        accuracy_interval: Its 95% interval, (low, high).
        macro_f1: Mean F1 over the classes.
        only_model: Number of texts that only the model predicts correctly.
        only_baseline: Number of texts that only the baseline predicts correctly.
        model_is_worse: One-sided p-value of McNemar's test: how probable `only_baseline` or more
            are if both are equally good.
        model_is_better: The same the other way round.
        trained_texts: Number of texts that the baseline was trained on.
    """

    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    only_model: int
    only_baseline: int
    model_is_worse: float
    model_is_better: float
    trained_texts: int


@dataclass(frozen=True)
class Baselines:
    """The two baselines. `tfidf` is None if the training texts have no words or only one class."""

    majority: Baseline
    tfidf: Baseline | None


def measure_baselines(
    train: Examples, test_texts: Sequence[str], targets: tuple[Targets, Targets], correct: Bools
) -> Baselines:
    """Train the baselines and measure them on the test texts.

    Args:
        train: The training texts.
        test_texts: The test texts.
        targets: Of the training and the test texts, in the form of `metrics`.
        correct: Which test texts the model predicts correctly, bool [test texts].
    """
    trained, wanted = targets
    majority: Any = np.broadcast_to(_most_frequent(trained), wanted.shape)
    predicted, count = _tfidf_predictions(train.texts, trained, test_texts)
    return Baselines(
        _measured(majority, wanted, correct, len(train)),
        None if predicted is None else _measured(predicted, wanted, correct, count),
    )


def _measured(predicted: Targets, targets: Targets, correct: Bools, trained_texts: int) -> Baseline:
    own = np.asarray((predicted == targets).reshape(len(targets), -1).all(1))
    only_model, only_baseline = int((correct & ~own).sum()), int((own & ~correct).sum())
    return Baseline(
        accuracy=float(own.mean()),
        accuracy_interval=intervals.interval(int(own.sum()), len(own)),
        macro_f1=metrics.macro_f1(targets, predicted),
        only_model=only_model,
        only_baseline=only_baseline,
        model_is_worse=intervals.mcnemar_p_value(only_baseline, only_model),
        model_is_better=intervals.mcnemar_p_value(only_model, only_baseline),
        trained_texts=trained_texts,
    )


def _most_frequent(targets: Targets) -> Targets:
    """Return the most frequent class, or for multi-label data the most frequent set of labels."""
    if targets.ndim == 1:
        return np.asarray(np.bincount(np.asarray(targets, np.int64)).argmax())
    rows = Counter(map(tuple, targets.tolist()))
    # The order of the texts does not matter: of equally frequent sets, the last in order is taken.
    return np.asarray(max(rows, key=lambda row: (rows[row], row)), np.float64)


def _tfidf_predictions(
    train_texts: Sequence[str], targets: Targets, test_texts: Sequence[str]
) -> tuple[Targets | None, int]:
    """Return the predictions of a linear SVM on TF-IDF of words.

    They have the form of `targets`. They are None if nothing can be trained. Also return the number
    of training texts: large data are sampled.
    """
    classes = targets.shape[1] if targets.ndim == 2 else len(np.unique(targets))
    chosen = _sample([len(text) for text in train_texts], classes)
    vectorizer = TfidfVectorizer(
        sublinear_tf=True,
        ngram_range=(1, _longest(train_texts)),
        max_features=MAX_FEATURES,
        token_pattern=word_pattern(),
        dtype=np.float32,
    )
    try:
        features = vectorizer.fit_transform(_read([train_texts[i] for i in chosen], "counting words"))
    except ValueError:  # no text has a word
        return None, 0
    known = targets[chosen]
    if (known == known[0]).all():
        return None, 0
    machine = LinearSVC(random_state=0)
    model = machine if targets.ndim == 1 else OneVsRestClassifier(machine)
    with Bar(name="baseline: training", unit="text", total=len(chosen)), warnings.catch_warnings():
        # A baseline that has not quite converged is good enough, and a label that all texts of a
        # sample have, or none, is predicted as such.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "Label .* is present in all training examples", UserWarning)
        warnings.filterwarnings("ignore", "Label not .* is present in all training examples", UserWarning)
        model.fit(features, known.astype(np.int64))
    predicted = model.predict(vectorizer.transform(_read(test_texts, "predicting")))
    found: Any = np.asarray(predicted, targets.dtype)
    return found, len(chosen)


def _read(texts: Sequence[str], what: str) -> Iterator[str]:
    """Yield what is read of each text, and show the progress of doing `what`."""
    return (text[:MAX_TEXT] for text in Bar(texts, f"baseline: {what}", "text"))


def _longest(texts: Sequence[str]) -> int:
    """Return 2 if most texts have no spaces between words: pairs of characters are their words."""
    sampled = texts[:: max(1, len(texts) // MAX_LOOKED_AT)]
    return 2 if 2 * sum(map(is_unspaced, sampled)) > len(sampled) else 1


def _sample(lengths: Sequence[int], classes: int) -> Ints:
    """Return the indices of the texts to train on: all, or a random sample within the limits.

    `lengths` are the characters of each text.
    """
    order = np.random.default_rng(0).permutation(len(lengths))
    read = np.minimum(np.asarray(lengths)[order], MAX_TEXT).cumsum()
    most = min(len(order), max(MAX_PAIRS // classes, 1), max(int((read <= MAX_CHARACTERS).sum()), 1))
    return np.sort(order[:most])
