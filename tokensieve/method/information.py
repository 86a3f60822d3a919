"""The mutual information between the presence of a construct in a text and the text's labels."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from functools import cache

ROUNDING = 1e-8  # nats: more than an error of computation or rounding

Measure = Callable[[Mapping[int, int], int], float]
"""A function that returns the information of a construct, in nats.

Its arguments are the number of texts with the construct, by label and in total.
"""


def single_label_information(of_label: Mapping[int, int], total: int) -> Measure:
    """Return the measure for `total` texts with one label each; `of_label` counts them by label."""
    entropy_terms = {label: _xlogx(n) for label, n in of_label.items()}
    all_terms = math.fsum(entropy_terms.values())

    def information(held: Mapping[int, int], n: int) -> float:
        # The mutual information of two variables from their table of counts is the sum of n log n
        # over the cells, minus the sums over the rows and over the columns, plus total log total,
        # all divided by the total. A cell counts the texts of a label with or without the
        # construct. Labels that never occur with the construct cancel.
        without = all_terms
        present = 0.0
        for label, k in held.items():
            present += _xlogx(k)
            without += _xlogx(of_label[label] - k) - entropy_terms[label]
        return max(
            0.0, (present + without - _xlogx(n) - _xlogx(total - n) - all_terms + _xlogx(total)) / total
        )

    return information


def multi_label_information(of_label: Mapping[int, int], total: int) -> Measure:
    """Return the measure for `total` multi-label texts: a sum over the labels."""

    def pair(k: int, n: int, have: int) -> float:
        """Return the information about one label.

        Of the `n` texts with the construct, `k` have the label. Of all texts, `have` do.
        """
        cells = _xlogx(k) + _xlogx(n - k) + _xlogx(have - k) + _xlogx(total - n - have + k)
        return (
            cells - _xlogx(n) - _xlogx(total - n) - _xlogx(have) - _xlogx(total - have) + _xlogx(total)
        ) / total

    def disjoint(n: int, have: int) -> float:
        # If n + have > total, the two must co-occur. The value does not matter then, because
        # `information` subtracts it again.
        return pair(0, n, have) if n + have <= total else 0.0

    @cache
    def all_disjoint(n: int) -> float:
        # A label that never occurs with the construct carries information too. It is the same for
        # all constructs with n texts.
        return math.fsum(disjoint(n, have) for have in of_label.values())

    def information(held: Mapping[int, int], n: int) -> float:
        met = math.fsum(
            pair(k, n, of_label[label]) - disjoint(n, of_label[label]) for label, k in held.items()
        )
        return max(0.0, all_disjoint(n) + met)

    return information


def _xlogx(n: int) -> float:
    return n * math.log(n) if n else 0.0


def least_texts(information: float, of_label: Mapping[int, int], total: int, multi_label: bool) -> int:
    """Return the number of texts that a construct needs to have `information`, in nats.

    The mutual information with a label is at most the entropy of the construct's presence, and at
    most that of the label. The arguments are those of the measures. If no number is enough, the
    result is larger than half of `total`.
    """
    halves = [_entropy(n, total) for n in of_label.values()]

    def highest(n: int) -> float:
        own = _entropy(n, total)
        return math.fsum(min(own, other) for other in halves) if multi_label else own

    return 1 + bisect_left(range(1, total // 2 + 1), information - ROUNDING, key=highest)


def _entropy(n: int, total: int) -> float:
    """Return the entropy, in nats, of a property that `n` of `total` texts have."""
    return (_xlogx(total) - _xlogx(n) - _xlogx(total - n)) / total
