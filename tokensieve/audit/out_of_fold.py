"""Out-of-fold probabilities: what a linear probe that has not seen a text makes of it.

The probe is a logistic regression on frozen states. No encoder is trained.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tokensieve.audit.near_copies import Floats, Ints
from tokensieve.bars import Bar

Bools = npt.NDArray[np.bool_]

PENALTY = 0.1  # 1 / C of the regression, for states of unit length
ITERATIONS = 50
# Of the gradient. With coefficients of 0 it is about 0.05 / classes, so 1e-3 would stop there.
TOLERANCE = 1e-5
MAX_FITTED = 20_000  # texts that a regression is fitted on


def out_of_fold(states: Floats, classes: Ints, folds: Ints, seed: int) -> Floats:
    """Return the probability of each class for each text, float32 [texts, classes].

    It is of a regression on the texts of the other folds, at most `MAX_FITTED` of them. A class
    that these do not have gets the probability 0.

    Args:
        states: States of unit length, float32 [texts, width].
        classes: The index of each text's class, int64 [texts]; at least two different ones.
        folds: The fold of each text, int64 [texts].
        seed: Seeds the choice of the texts that are fitted.
    """
    found = np.zeros((len(states), int(classes.max()) + 1), np.float32)
    for held_out, fitted in _held_out(folds, seed):
        known, probabilities = _probabilities(states, classes, held_out, fitted)
        found[np.ix_(held_out, known)] = probabilities
    return found


def out_of_fold_labels(states: Floats, has: Bools, folds: Ints, seed: int) -> Floats:
    """Return the probability that each text has each label, float32 [texts, labels].

    One regression per label, and otherwise as `out_of_fold`.

    Args:
        states: States of unit length, float32 [texts, width].
        has: Whether a text has a label, bool [texts, labels].
        folds: The fold of each text, int64 [texts].
        seed: Seeds the choice of the texts that are fitted.
    """
    found = np.zeros(has.shape, np.float32)
    for held_out, fitted in _held_out(folds, seed):
        for label, own in enumerate(has.T.astype(np.int64)):
            known, probabilities = _probabilities(states, own, held_out, fitted)
            found[held_out, label] = probabilities @ known
    return found


def _held_out(folds: Ints, seed: int) -> Iterator[tuple[Ints, Ints]]:
    """Yield the texts of each fold, and those of the others that a regression is fitted on."""
    random = np.random.default_rng(seed)
    for fold in Bar(np.unique(folds), "judging labels", "model"):
        held_out, fitted = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        if len(fitted) > MAX_FITTED:
            fitted = random.choice(fitted, MAX_FITTED, replace=False)
        yield held_out, fitted


def _probabilities(states: Floats, classes: Ints, held_out: Ints, fitted: Ints) -> tuple[Ints, Floats]:
    """Return the classes of the fitted texts, and their probabilities [held out, classes]."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    known = np.unique(classes[fitted])
    if len(known) < 2:
        return known, np.ones((len(held_out), len(known)), np.float32)
    probe = LogisticRegression(C=1 / PENALTY, max_iter=ITERATIONS, tol=TOLERANCE)
    # The fit uses the BLAS of NumPy and that of SciPy in turn. With a pool of threads each, they
    # wait for each other, and the fit takes several times as long.
    with threadpool_limits(1, "blas"), warnings.catch_warnings():
        # A few iterations are enough for an order of texts.
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(states[fitted], classes[fitted])
    return known, probe.predict_proba(states[held_out])


def judged_texts(classes: npt.NDArray[np.int64], least: int) -> Ints:
    """Return the indices of the texts whose class has at least `least` texts.

    A probe knows too little of a smaller class to judge its texts.
    """
    sizes = np.bincount(classes, minlength=1)
    return np.flatnonzero(sizes[classes] >= least)
