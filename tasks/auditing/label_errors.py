"""Likely label errors, found by cleanlab.

Confident learning: Northcutt et al. 2021, JAIR 70. Multi-label data: each label against the rest
(Thyagarajan et al. 2022, arXiv 2211.13895).
"""

from __future__ import annotations

import warnings

import numpy as np

from tokensieve.audit.near_copies import Floats, Ints
from tokensieve.audit.out_of_fold import Bools


def find_label_errors(given: Ints, probabilities: Floats) -> list[tuple[int, int, float, float]]:
    """Return the texts whose given class is likely wrong, the likeliest first.

    With the index of a text come the index of the most probable other class, the probability of the
    given class, and that of the other class.

    Args:
        given: The index of each text's class, int64 [texts]. Each class has a text.
        probabilities: Out-of-fold probabilities, float32 [texts, classes].
    """
    from cleanlab.filter import find_label_issues  # here: the import takes seconds

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with few texts, which the audit lists itself
        # Of planted wrong labels, "both" finds about as many as the default, with fewer right ones.
        # By margin, more of the first ones are wrong if people take similar classes for each other.
        texts = find_label_issues(
            given, probabilities, return_indices_ranked_by="normalized_margin", filter_by="both", n_jobs=1
        )
    others = np.array(probabilities[texts])
    rows = np.arange(len(others))
    own = others[rows, given[texts]]
    others[rows, given[texts]] = -1.0
    best = others.argmax(1)
    columns = (np.asarray(texts), best, own, others[rows, best])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def find_wrong_sets(has: Bools, probabilities: Floats) -> list[tuple[int, list[int], float]]:
    """Return the texts of which a label is likely wrong or missing, the likeliest first.

    With the index of a text come the indices of the labels that it should have, and the probability
    that its most doubtful label is as given.

    Args:
        has: Whether a text has a label, bool [texts, labels].
        probabilities: Out-of-fold probabilities of the labels, float32 [texts, labels].
    """
    from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class

    given = [np.flatnonzero(own).tolist() for own in has]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # For one label against the rest, "both" finds a third more texts, fewer of them wrong.
        wrong = find_multilabel_issues_per_class(
            given, probabilities, filter_by="confident_learning", n_jobs=1
        )
    as_given = np.where(wrong, np.where(has, probabilities, 1 - probabilities), 1.0).min(1)
    texts = np.flatnonzero(np.asarray(wrong).any(1))
    texts = texts[np.argsort(as_given[texts], kind="stable")]
    right = has ^ wrong
    return [(int(text), np.flatnonzero(right[text]).tolist(), float(as_given[text])) for text in texts]
