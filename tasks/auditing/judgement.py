"""What a linear probe makes of the labels: which are likely wrong, and which classes overlap."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from tasks.auditing.audited_texts import AuditedTexts, join_labels
from tasks.auditing.label_errors import find_label_errors, find_wrong_sets
from tasks.auditing.text_states import States
from tokensieve.audit.classes import Overlap, overlapping_classes
from tokensieve.audit.near_copies import Ints
from tokensieve.audit.out_of_fold import judged_texts, out_of_fold, out_of_fold_labels
from tokensieve.data.folds import assign_folds
from tokensieve.data.labels import class_names

FOLDS = 5
LEAST_JUDGED = 5  # texts of a class whose labels are judged


@dataclass(frozen=True)
class Suspect:
    """A text whose label is likely wrong.

    Attributes:
        text: The index of the text.
        suggested: The name of the most probable other class. In multi-label data: the labels that
            the text should have, joined.
        given_probability: The probability of the given class. In multi-label data: that the most
            doubtful label is as given, be it there or missing.
        suggested_probability: That of the other class. In multi-label data: that this label is not
            as given.
    """

    text: int
    suggested: str
    given_probability: float
    suggested_probability: float


@dataclass(frozen=True)
class Judgement:
    """What the probe makes of the labels.

    Attributes:
        judged: The number of texts that were judged.
        suspects: The texts with likely wrong labels, the likeliest first.
        overlaps: The classes that the probe takes for each other.
        reason: Why nothing was judged. Empty: it was.
        agreement: The share of the judged texts that the probe gives the labels that they have.
    """

    judged: int = 0
    suspects: list[Suspect] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)
    reason: str = ""
    agreement: float = 0.0


def judge(found: AuditedTexts, states: States, own: Ints, seed: int) -> Judgement:
    """Judge the labels of the texts with states by a probe that has not seen them.

    Args:
        found: The texts.
        states: Their states.
        own: The index of each text among the different texts. Copies are in one fold: otherwise a
            copy with the same wrong label would hide it.
        seed: Seeds the folds.
    """
    if found.multi_label:
        return _judge_sets(found, states, own, seed)
    labels = [found.labels[i] for i in states.texts.tolist()]
    names = class_names(labels)
    index = {name: i for i, name in enumerate(names)}
    given = np.array([index[name] for (name,) in labels], np.int64)
    judged = judged_texts(given, LEAST_JUDGED)
    kept, given = np.unique(given[judged], return_inverse=True)
    if len(kept) < 2:
        return Judgement(reason=f"fewer than 2 classes have {LEAST_JUDGED} texts, which judging labels needs")
    texts, names = states.texts[judged].tolist(), [names[i] for i in kept]
    copies = [str(place) for place in own[texts].tolist()]
    folds = assign_folds(copies, [found.labels[i] for i in texts], FOLDS, seed)
    probabilities = out_of_fold(states.vectors[judged], given, folds, seed)
    errors = find_label_errors(given, probabilities)
    suspects = [
        Suspect(texts[row], names[suggested], round(given_probability, 4), round(probability, 4))
        for row, suggested, given_probability, probability in errors
    ]
    predicted = probabilities.argmax(1)
    overlaps = overlapping_classes(given, predicted, names)
    agreement = round(float((predicted == given).mean()), 4)
    return Judgement(len(texts), suspects, overlaps, agreement=agreement)


def _judge_sets(found: AuditedTexts, states: States, own: Ints, seed: int) -> Judgement:
    """Judge each label against the rest. A label with too few texts is right wherever it is."""
    texts = states.texts.tolist()
    labels = [found.labels[i] for i in texts]
    sizes = Counter(name for names in labels for name in names)
    judged = [name for name in class_names(labels) if sizes[name] >= LEAST_JUDGED]
    if not judged:
        return Judgement(reason=f"no label has {LEAST_JUDGED} texts, which judging labels needs")
    has = np.array([[name in names for name in judged] for names in labels])
    folds = assign_folds([str(place) for place in own[texts].tolist()], labels, FOLDS, seed)
    probabilities = out_of_fold_labels(states.vectors, has, folds, seed)
    suspects = []
    for row, right, as_given in find_wrong_sets(has, probabilities):
        others = {name for name in labels[row] if name not in judged}
        names = sorted(others | {judged[label] for label in right})
        suspects.append(Suspect(texts[row], join_labels(names), round(as_given, 4), round(1 - as_given, 4)))
    agreement = round(float(((probabilities > 0.5) == has).all(1).mean()), 4)
    return Judgement(len(texts), suspects, agreement=agreement)
