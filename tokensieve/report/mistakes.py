"""What went wrong on the test texts: the weakest classes, and the confusions with their texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from tokensieve.data.examples import Examples
from tokensieve.evaluation import intervals
from tokensieve.inference.decisions import DecisionRule, Logits, certainty, decide
from tokensieve.report.content import ClassRow, Confusion, Matrix, WrongText

CONFUSIONS, TEXTS = 12, 5  # most confusions, and most texts of each
IN_MATRIX = 24  # classes of a confusion matrix that can be read
JOINED = ", "  # between the labels of a multi-label text


def class_rows(
    per_class: Mapping[str, Mapping[str, Any]], train_counts: Mapping[str, int]
) -> tuple[ClassRow, ...]:
    """Return a row per class, the surely weakest first: by the upper bound of the recall.

    Classes without test texts are last. `per_class` is that of the evaluation report.
    """
    rows = [
        ClassRow(
            label=label,
            train=train_counts.get(label, 0),
            test=figures["support"],
            recall=figures["recall"],
            precision=figures["precision"],
            f1=figures["f1"],
        )
        for label, figures in per_class.items()
    ]
    return tuple(sorted(rows, key=_weakness))


def _weakness(row: ClassRow) -> tuple[bool, float, float, str]:
    highest = intervals.interval(round(row.recall * row.test), row.test)[1]
    return (row.test == 0, highest, row.f1, row.label)


def confusions(
    test: Examples,
    logits: Logits,
    labels: Sequence[str],
    rule: DecisionRule,
    suggested: Mapping[int, str] | None = None,
) -> tuple[Confusion, ...]:
    """Return the most frequent confusions, with the texts that were predicted most surely.

    Args:
        test: The test texts with their labels.
        logits: Their logits [texts, classes].
        labels: The names of the classes.
        rule: The decision rule.
        suggested: The labels that the audit suggests, by the row of the text.
    """
    found = decide(logits, rule)
    if rule.thresholds:
        predicted = [tuple(np.array(labels)[row].tolist()) for row in found.labels]
        sure = certainty(found.probabilities, np.array(rule.thresholds))
    else:
        predicted, sure = [(labels[i],) for i in found.labels[:, 0]], found.probabilities.max(1)
    wrong: dict[tuple[str, str], list[int]] = defaultdict(list)
    of: dict[str, int] = defaultdict(int)
    for i, names in enumerate(test.labels):
        of[JOINED.join(names)] += 1
        if tuple(sorted(predicted[i])) != names:
            wrong[JOINED.join(names), JOINED.join(predicted[i])].append(i)
    worst = sorted(wrong.items(), key=lambda pair: (-len(pair[1]), pair[0]))[:CONFUSIONS]
    return tuple(
        Confusion(
            true=true,
            predicted=other,
            count=len(places),
            of=of[true],
            texts=tuple(
                WrongText(
                    test.place(i), test.texts[i], float(sure[i]), (suggested or {}).get(test.rows[i], "")
                )
                for i in sorted(places, key=lambda i: -sure[i])[:TEXTS]
            ),
        )
        for (true, other), places in worst
    )


def matrix(test: Examples, logits: Logits, labels: Sequence[str]) -> Matrix | None:
    """Return the confusion matrix of single-label data; None if it has too many classes to read."""
    if test.multi_label or len(labels) > IN_MATRIX:
        return None
    index = {label: i for i, label in enumerate(labels)}
    targets = [index[name] for (name,) in test.labels]
    counts = confusion_matrix(targets, logits.argmax(1), labels=range(len(labels)))
    return Matrix(tuple(labels), tuple(map(tuple, counts.tolist())))
