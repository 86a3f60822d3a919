"""What the audit of the data found, for the report."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.auditing.audit_report import MISSED, MOST_CHARACTERS, Audit, AuditedRow, Duplicates
from tokensieve.cleaning import strip_html
from tokensieve.counted import counted
from tokensieve.report.content import Fact, Finding, Table

LISTED = 12  # rows of each finding, or sets
OF_A_SET = 3  # different texts of a set, and places of each
CHARACTERS = 200  # of a text
MANY = 0.02  # share of likely label errors from which they are the first remedy


def findings(audit: Audit) -> Iterator[Finding]:
    """Yield the findings, those with the largest effect on a model first."""
    yield from _label_errors(audit)
    yield from _duplicates(audit)
    yield from _classes(audit)
    if audit.outliers:
        rows = tuple(
            (_text(own.row), _labels(own.row), _place(own.row), f"{own.similarity:.2f}")
            for own in audit.outliers[:LISTED]
        )
        about = "Their nearest other texts are far away. They may be of no class, or in another language."
        yield Finding(
            counted(audit.totals["outliers"], "text unlike all others", "texts unlike all others"),
            about,
            Table(("text", "label", "where", "similarity"), rows),
        )


def remedy(audit: Audit) -> tuple[str, bool]:
    """Return what correcting the labels would be, and whether it is the first thing to do.

    The remedy is empty if no label is likely wrong.
    """
    errors = audit.totals["label_errors"]
    if not errors:
        return "", False
    about = "1 label is" if errors == 1 else f"{errors:,} labels are"
    kind = "likely wrong" if audit.is_separable else "doubtful"
    return (
        f"corrected labels: {about} {kind} (artifacts/audit/review.csv)",
        audit.is_separable and errors > MANY * audit.judged,
    )


def length_facts(audit: Audit) -> Iterator[Fact]:
    """Yield how long the texts are."""
    lengths = audit.lengths
    if "median" in lengths:
        yield Fact(
            "tokens per text",
            f"{lengths['median']:,.0f} in the middle, {lengths['p99']:,.0f} at most for 99%",
            f"the longest has {lengths['longest']:,.0f}",
        )


def _label_errors(audit: Audit) -> Iterator[Finding]:
    if audit.not_judged:
        yield Finding("Labels were not judged", f"{audit.not_judged}.", Table((), ()), has_texts=False)
    elif not audit.totals["label_errors"]:
        about = f"None in {audit.judged:,} texts; {MISSED}."
        yield Finding("No likely label errors", about, Table((), ()), has_texts=False)
    if audit.label_errors:
        rows = tuple(
            (
                _text(own.row),
                f"{_labels(own.row)} ({own.given_probability:.0%})",
                f"{own.suggested} ({own.suggested_probability:.0%})",
                _place(own.row),
            )
            for own in audit.label_errors[:LISTED]
        )
        kind = "likely label error" if audit.is_separable else "doubtful label"
        hard = (
            ""
            if audit.is_separable
            else f" The probe agrees with the labels of {audit.agreement:.0%} of the texts: these classes "
            "are hard to tell apart without training, and many of the doubtful labels may be right."
        )
        yield Finding(
            counted(audit.totals["label_errors"], kind, f"{kind}s"),
            "The likeliest first, with the probabilities of a probe that did not see the text. All rows are "
            "in artifacts/audit/review.csv: fill in the right labels, then tokensieve data add --review."
            f"{hard}",
            Table(("text", "label", "suggested", "where"), rows),
        )


def _duplicates(audit: Audit) -> Iterator[Finding]:
    chosen = [own for own in audit.duplicate_sets if own.conflict or own.leak][:LISTED]
    if chosen:
        rows = tuple(row for number, own in enumerate(chosen, 1) for row in _set_rows(number, own))
        yield Finding(
            "Similar texts with different labels, or in train and test",
            f"Of copies and near-copies: {counted(audit.totals.get('conflicts', 0), 'set')} with different "
            f"labels, {audit.totals.get('leaks', 0):,} in train and another part.",
            Table(("text", "labels", "where", "set"), rows),
        )


def _set_rows(number: int, own: Duplicates) -> Iterator[tuple[str, ...]]:
    """Yield the cells of the first different texts of a set, each with its labels and places."""
    rows: dict[str, list[AuditedRow]] = {}
    for row in own.rows:
        rows.setdefault(_text(row), []).append(row)
    for text, same in list(rows.items())[:OF_A_SET]:
        labels = " / ".join(dict.fromkeys(map(_labels, same)))
        places = "; ".join(f"{_place(row)} ({row.part})" for row in same[:OF_A_SET])
        more = f" and {len(same) - OF_A_SET:,} more" if len(same) > OF_A_SET else ""
        yield text, labels, f"{places}{more}", f"{number}: {own.kind}, {counted(own.texts, 'text')}"


def _classes(audit: Audit) -> Iterator[Finding]:
    if audit.overlaps:
        pairs = tuple(
            (own.first, own.second, f"{own.first_as_second + own.second_as_first:,} ({own.share:.0%})")
            for own in audit.overlaps[:LISTED]
        )
        about = "A probe takes many texts of one for the other. Are the labels clear?"
        yield Finding(
            "Classes that overlap", about, Table(("class", "class", "texts confused"), pairs), has_texts=False
        )
    if audit.lookalikes:
        groups = tuple(
            (" / ".join(f"{own.label} ({own.texts:,})" for own in group),)
            for group in audit.lookalikes[:LISTED]
        )
        about = "They differ in case, blanks or invisible characters only. Are they the same class?"
        yield Finding("Labels that look alike", about, Table(("labels",), groups), has_texts=False)
    if audit.small_classes:
        small = tuple((own.label, f"{own.texts:,}") for own in audit.small_classes[:LISTED])
        yield Finding(
            counted(
                len(audit.small_classes),
                "class with fewer than 10 texts",
                "classes with fewer than 10 texts",
            ),
            "A model learns little of them, and a test says little about them.",
            Table(("class", "texts"), small),
            has_texts=False,
        )


def _labels(row: AuditedRow) -> str:
    return ", ".join(row.labels) or "no label"


def _text(row: AuditedRow) -> str:
    """Return the words of a text without HTML. A long one is cut and then ends in an ellipsis."""
    words = " ".join((strip_html(row.text) or row.text).split())
    is_cut = len(words) > CHARACTERS or len(row.text) >= MOST_CHARACTERS
    return f"{words[:CHARACTERS].rstrip()}…" if is_cut else words


def _place(row: AuditedRow) -> str:
    return f"{row.file}, {row.place}"
