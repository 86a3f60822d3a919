"""Likely label errors, found by cleanlab (confident learning: Northcutt et al. 2021, JAIR 70)."""

from __future__ import annotations

import warnings

import numpy as np

from tokensieve.audit.near_copies import Floats, Ints


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
