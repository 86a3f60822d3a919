"""What a linear probe makes of the labels: which are likely wrong, and which classes overlap."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tasks.auditing.audited_texts import AuditedTexts
from tasks.auditing.label_errors import find_label_errors
from tasks.auditing.text_states import States
from tokensieve.audit.classes import Overlap, overlapping_classes
from tokensieve.audit.near_copies import Ints
from tokensieve.audit.out_of_fold import judged_texts, out_of_fold
from tokensieve.data.folds import assign_folds
from tokensieve.data.labels import class_names

FOLDS = 5
LEAST_JUDGED = 5  # texts of a class whose labels are judged


@dataclass(frozen=True)
class Suspect:
    """A text whose label is likely wrong.

    Attributes:
        text: The index of the text.
        suggested: The name of the most probable other class.
        given_probability: The probability of the given class.
        suggested_probability: That of the other class.
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
        agreement: The share of the judged texts that the probe gives the label that they have.
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
        return Judgement(reason="label errors and overlaps are not looked for in multi-label data")
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
