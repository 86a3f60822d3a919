"""Which rows a person is to look at, in which order, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tasks.auditing.audited_texts import AuditedTexts
from tasks.auditing.judgement import Suspect
from tasks.auditing.text_states import Outlier
from tokensieve.audit.duplicate_sets import MEANING, DuplicateSet
from tokensieve.data.label_names import lookalike_labels

MOST_ROWS = 2000
MOST_OF_A_SET = 20


@dataclass
class ReviewRow:
    """A row to look at.

    Attributes:
        text: The index of the text.
        reasons: Why.
        suggested: The label that may be right. Empty: no suggestion.
        probabilities: Those of the given and of the suggested label. None: not judged.
    """

    text: int
    reasons: list[str] = field(default_factory=list)
    suggested: str = ""
    probabilities: tuple[float, float] | None = None


def review_rows(
    found: AuditedTexts,
    sets: Sequence[DuplicateSet],
    suspects: Iterable[Suspect],
    outliers: Iterable[Outlier],
) -> list[ReviewRow]:
    """Return the rows to look at, at most `MOST_ROWS`, each once.

    1. Copies and near-copies with different labels, because one of the labels is wrong.
    2. Likely label errors.
    3. Sets that span train and other parts, and sets of the same meaning with different labels.
    4. Labels that look like another one, and outliers.
    """
    rows: dict[int, ReviewRow] = {}

    def add(text: int, reason: str) -> ReviewRow:
        row = rows.setdefault(text, ReviewRow(text))
        row.reasons.append(reason)
        return row

    numbered = [(f"set {number}", own) for number, own in enumerate(sets, 1)]
    certain = [(name, own) for name, own in numbered if own.conflict and own.kind != MEANING]
    other = [(name, own) for name, own in numbered if own.leak or own.conflict]
    for name, own in certain:
        for text in own.members[:MOST_OF_A_SET]:
            row = add(text, f"{name}: {own.kind} with another label")
            row.suggested = _majority(found, own, text)
    for suspect in suspects:
        row = add(suspect.text, "likely label error")
        row.suggested = suspect.suggested
        row.probabilities = suspect.given_probability, suspect.suggested_probability
    for name, own in other:
        if (name, own) not in certain:
            for text in own.members[:MOST_OF_A_SET]:
                kind = "similar text" if own.kind == MEANING else own.kind
                add(text, f"{name}: {kind} {'in train and test' if own.leak else 'with another label'}")
    for text, label in _lookalikes(found):
        row = add(text, "label looks like another one")
        row.suggested = row.suggested or label
    for outlier in outliers:
        add(outlier.text, "unlike all other texts")
    return list(rows.values())[:MOST_ROWS]


def _majority(found: AuditedTexts, own: DuplicateSet, text: int) -> str:
    """Return the label of most texts of a set, if that is not the label of `text`. Else empty."""
    counts = Counter(found.labels[member] for member in own.members).most_common(2)
    label, texts = counts[0]
    clear = len(label) == 1 and texts > counts[1][1] and label != found.labels[text]
    return label[0] if clear else ""


def _lookalikes(found: AuditedTexts) -> Iterator[tuple[int, str]]:
    """Yield the texts whose label looks like a more frequent one, and that label."""
    sizes = Counter(name for names in found.labels for name in names)
    frequent = {name: group[0][0] for group in lookalike_labels(sizes) for name, _ in group[1:]}
    for text, names in enumerate(found.labels):
        for name in names:
            if name in frequent:
                yield text, frequent[name] if len(names) == 1 else ""
