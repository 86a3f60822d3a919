"""The findings of the audit, and the artifact that is made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks.auditing.audit_report import MOST_CHARACTERS, Audit, ClassSize, Duplicates, LabelError
from tasks.auditing.audit_report import Outlier as ReportedOutlier
from tasks.auditing.audited_texts import AuditedTexts
from tasks.auditing.judgement import Judgement
from tasks.auditing.text_states import Outlier
from tokensieve.audit.classes import small_classes
from tokensieve.audit.duplicate_sets import MEANING, DuplicateSet
from tokensieve.data.label_names import lookalike_labels
from tokensieve.data.token_lengths import length_distribution, sampling_step, truncation_summary
from tokensieve.model.batches import token_counts
from tokensieve.model.encoder import load_tokenizer
from tokensieve.project import Layout
from tokensieve.settings import Settings

# What the artifact has at most. `Audit.totals` has the full numbers.
MOST_ERRORS, MOST_SETS, MOST_ROWS, MOST_OUTLIERS = 500, 200, 10, 50


@dataclass(frozen=True)
class Findings:
    """What the parts of the audit have found. `reviewed` is the number of rows in review.csv."""

    texts: AuditedTexts
    sets: Sequence[DuplicateSet]
    judgement: Judgement
    outliers: Sequence[Outlier]
    reviewed: int


def audit_of(found: Findings, layout: Layout, settings: Settings) -> Audit:
    """Return the artifact of the findings."""
    texts, sets, judgement = found.texts, found.sets, found.judgement
    sizes = Counter(name for names in texts.labels for name in names)
    return Audit(
        parts=dict(Counter(texts.parts)),
        judged=judgement.judged,
        not_judged=judgement.reason,
        agreement=judgement.agreement,
        totals=_totals(found),
        label_errors=tuple(
            LabelError(
                texts.row(own.text, MOST_CHARACTERS),
                own.suggested,
                own.given_probability,
                own.suggested_probability,
            )
            for own in judgement.suspects[:MOST_ERRORS]
        ),
        duplicate_sets=tuple(_duplicates(texts, own) for own in sets[:MOST_SETS]),
        overlaps=tuple(judgement.overlaps),
        classes=tuple(ClassSize(name, size) for name, size in sizes.most_common()),
        small_classes=tuple(ClassSize(*own) for own in small_classes(sizes)),
        lookalikes=tuple(tuple(ClassSize(*own) for own in group) for group in lookalike_labels(sizes)),
        lengths=_lengths(texts, layout, settings),
        outliers=tuple(
            ReportedOutlier(texts.row(own.text, MOST_CHARACTERS), own.similarity)
            for own in found.outliers[:MOST_OUTLIERS]
        ),
        reviewed=found.reviewed,
    )


def _totals(found: Findings) -> dict[str, int]:
    copies = [own for own in found.sets if own.kind != MEANING]
    return {
        "label_errors": len(found.judgement.suspects),
        "copy_sets": len(copies),
        "conflicts": sum(own.conflict for own in copies),
        "leaks": sum(own.leak for own in copies),
        "similar_sets": len(found.sets) - len(copies),
        "outliers": len(found.outliers),
    }


def _duplicates(texts: AuditedTexts, own: DuplicateSet) -> Duplicates:
    rows = tuple(texts.row(text, MOST_CHARACTERS) for text in own.members[:MOST_ROWS])
    return Duplicates(own.kind, own.similarity, own.conflict, own.leak, len(own.members), rows)


def _lengths(texts: AuditedTexts, layout: Layout, settings: Settings) -> dict[str, Any]:
    """Return the distribution of the tokens per text, and how many texts are truncated."""
    counted = texts.texts[:: sampling_step(len(texts))]
    lengths = token_counts(load_tokenizer(layout.vocabulary / "tokenizer"), counted)
    return truncation_summary(lengths, settings.base.max_length) | length_distribution(lengths)
