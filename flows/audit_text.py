"""The audit of the data in words: for a terminal, and in one line for the summary of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flows.record_text import table_text
from tasks.auditing.audit_report import MISSED, Audit, AuditedRow, ClassSize, Duplicates
from tokensieve.project import Layout

SHOWN = 10  # entries of a list
CHARACTERS = 70  # of a text


def audit_lines(layout: Layout) -> list[str]:
    """Return the audit in a few lines for the summary of a run.

    There are none if nothing was found, or if the project has no audit.
    """
    found = Audit.load_or_none(layout.audit)
    if found is None:
        return []
    headline = found.headline()
    return [f"audit: {headline}: {_shown(layout)}"] if headline else []


def audit_text(found: Audit, layout: Layout, project: str) -> str:
    """Return the audit as tables, with texts of the data, and the next command."""
    parts = ", ".join(f"{part} {count:,}" for part, count in found.parts.items())
    title = f"Audit of {layout.root.name}: {sum(found.parts.values()):,} texts ({parts})"
    return "\n\n".join([title, *_sections(found), _next(found, layout, project)])


def _sections(found: Audit) -> Iterator[str]:
    yield _errors(found)
    yield _sets(found)
    if found.overlaps:
        columns = ("class", "other class", "texts like the other", "texts of the other like it", "share")
        rows = [
            (
                pair.first,
                pair.second,
                f"{pair.first_as_second}",
                f"{pair.second_as_first}",
                f"{pair.share:.0%}",
            )
            for pair in found.overlaps[:SHOWN]
        ]
        yield table_text(columns, rows, f"Classes that overlap: {len(found.overlaps):,}")
    yield "\n".join(_notes(found))
    if total := found.totals["outliers"]:
        outliers = [(*_place(own.row), f"{own.similarity:.2f}") for own in found.outliers[:SHOWN]]
        title = f"Texts unlike all others: {total:,}{_first(total)}"
        yield table_text(("where", "text", "label", "cosine"), outliers, title)


def _errors(found: Audit) -> str:
    total = found.totals["label_errors"]
    if found.not_judged or not total:
        none = f"none in {found.judged:,} texts; {MISSED}"
        return f"Likely label errors: {found.not_judged or none}"
    rows = [
        (*_place(own.row), f"{own.given_probability:.2f}", own.suggested, f"{own.suggested_probability:.2f}")
        for own in found.label_errors[:SHOWN]
    ]
    kind = "Likely label errors" if found.is_separable else "Doubtful labels"
    title = f"{kind}: {total:,} of {found.judged:,} texts{_first(total)}"
    table = table_text(("where", "text", "label", "p", "suggested", "p"), rows, title)
    if found.is_separable:
        return table
    return (
        f"{table}\nThe probe agrees with the labels of {found.agreement:.0%} of the texts: without training, "
        "these classes are hard to tell apart, and many of the doubtful labels may be right."
    )


def _sets(found: Audit) -> str:
    totals = found.totals
    title = (
        f"Sets of copies: {totals['copy_sets']:,}, of them {totals['conflicts']:,} with different labels, "
        f"{totals['leaks']:,} in train and another part. Sets of similar texts: {totals['similar_sets']:,}"
    )
    sets = [own for own in found.duplicate_sets if own.conflict or own.leak]
    rows = [cells for own in sets[:SHOWN] for cells in _set_rows(own)]
    return table_text(("set", "where", "text", "label"), rows, title) if rows else title


def _notes(found: Audit) -> Iterator[str]:
    """Yield a line about the sizes and names of the classes, and about the lengths of the texts."""
    classes, lengths = found.classes, found.lengths
    if classes:
        yield f"classes: {len(classes):,}, from {_size(classes[-1])} to {_size(classes[0])}"
    if found.small_classes:
        yield f"classes with fewer than 10 texts: {_listed([_size(own) for own in found.small_classes])}"
    for group in found.lookalikes[:SHOWN]:
        yield f"labels that look alike: {_listed([f'{own.label!r} ({own.texts:,})' for own in group])}"
    yield (
        f"tokens per text: median {lengths['median']:,}, 90% have at most {lengths['p90']:,}, "
        f"longest {lengths['longest']:,}; {lengths['share']:.1%} are cut at {lengths['max_length']:,}"
    )


def _set_rows(own: Duplicates) -> Iterator[tuple[str, ...]]:
    kind = "similar" if own.kind == "meaning" else own.kind
    names = [kind, *(["labels"] if own.conflict else []), *(["train and test"] if own.leak else [])]
    for place, row in enumerate(own.rows[:3]):
        yield (", ".join(names) if place == 0 else "", *_place(row))


def _place(row: AuditedRow) -> tuple[str, str, str]:
    text = " ".join(row.text.split())
    cut = text if len(text) <= CHARACTERS else f"{text[: CHARACTERS - 1]}…"
    printable = "".join(char if char.isprintable() else "·" for char in cut)
    return f"{row.file}, {row.place}", printable, ", ".join(row.labels)


def _size(own: ClassSize) -> str:
    return f"{own.label} {own.texts:,}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _first(total: int) -> str:
    return f"; the first {SHOWN}:" if total > SHOWN else ""


def _next(found: Audit, layout: Layout, project: str) -> str:
    if not found.reviewed:
        return "Nothing is to be looked at."
    option = "" if project == "." else f" --project {project}"
    return (
        f"{found.reviewed:,} rows to look at: {_shown(layout)}\n"
        "write the right labels into its column right_label, then: "
        f"tokensieve data add{option} --review {_shown(layout)}"
    )


def _shown(layout: Layout) -> str:
    path = layout.review
    return str(path.relative_to(layout.root.cwd())) if path.is_relative_to(layout.root.cwd()) else str(path)
