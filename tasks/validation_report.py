"""The report of the stage validate: its checks with messages and first rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.expectations import USUAL, Finding, Table
from tasks.faulty_rows import NAME as FAULTS
from tokensieve.counted import counted
from tokensieve.data.label_names import OTHER, Prepared, helpful_settings, lookalike_labels
from tokensieve.data.labels import class_names
from tokensieve.data.quality import rules
from tokensieve.data.row_place import row_place
from tokensieve.data.token_lengths import truncation_message
from tokensieve.errors import excerpt
from tokensieve.model.encoder_check import Base
from tokensieve.project import Layout
from tokensieve.settings import CHECKS, Data, Settings

MAX_CHARACTERS = 200  # of a text or label in the report
NAMED = 3  # rows or labels that a message names
LISTED = 20  # rows of a check in the report


@dataclass(frozen=True)
class Context:
    """What the messages name besides the findings."""

    settings: Settings
    base: Base


def checks_of(table: Table, findings: Sequence[Finding], context: Context) -> list[dict[str, Any]]:
    """Return the report's entries for one table, in the order of `CHECKS`.

    The project's own expectations are last.
    """
    checks = []
    for finding in findings:
        check: dict[str, Any] = {
            "name": finding.check,
            "part": table.part,
            "severity": "error" if finding.stops else "warning",
            "passed": finding.met,
            "changed": finding.check in table.changes,
            "count": finding.count,
            "rows": [_row(table, i) for i in finding.places[:LISTED]]
            + [{"row": None, "text": "", "label": _printable(label)} for label in finding.missing],
        }
        checks.append(check | {"message": _message(table, check, context)})
    order = {name: i for i, name in enumerate(CHECKS)}
    return sorted(checks, key=lambda check: order.get(check["name"], len(order)))


def error_message(errors: Sequence[Mapping[str, Any]]) -> str:
    """Return the checks that stop the run, one line per check, without texts of the data."""
    messages = [str(check["message"]) for check in errors]
    if len(messages) == 1:
        return messages[0]
    first = f"{len(messages)} checks of the data failed (validate.errors names the checks that stop a run):"
    return "\n".join([first, *messages])


def error_detail(errors: Sequence[Mapping[str, Any]], layout: Layout) -> str:
    """Return the content of the first rows that failed, and where to find more."""
    lines = [
        f"  {row_place(row)}: text {excerpt(row['text'])}, label {excerpt(row['label'], 40)}"
        for check in errors
        for row in check["rows"][:NAMED]
        if row["row"]
    ]
    if (layout.validation / FAULTS).exists():
        lines.append(f"All rows at fault: {layout.validation / FAULTS}")
    versions = layout.versions.read_text(encoding="utf-8").splitlines() if layout.versions.exists() else []
    if len(versions) > 1:
        lines.append("The data before: tokensieve data list, tokensieve data restore HASH")
    return "\n".join(lines)


def label_changes(prepared: Prepared, settings: Data) -> dict[str, str]:
    """Return what the settings changed in the labels, by the check that would have warned of it."""
    changes = {}
    if prepared.merged:
        named = [f"{excerpt(old, 40)} into {excerpt(new, 40)}" for old, new in prepared.merged.items()]
        changes["lookalike"] = (
            f"{counted(len(prepared.merged), 'label')} merged that look like another ({_listed(named)}), "
            f"in {counted(prepared.merged_rows, 'row')} (data.normalize_labels=true)"
        )
    if prepared.rare:
        done = f"merged into {OTHER!r}" if settings.rare == "merge" else "dropped"
        named = [f"{excerpt(name, 40)} {n:,}" for name, n in prepared.rare.items()]
        changes["rare_class"] = (
            f"{counted(len(prepared.rare), 'class', 'classes')} with fewer than {settings.rare_below:,} "
            f"training texts {done} ({_listed(named)}), {counted(prepared.rare_rows, 'row')} "
            f"(data.rare={settings.rare})"
        )
    return changes


def _listed(named: Sequence[str]) -> str:
    more = f" and {len(named) - NAMED:,} more" if len(named) > NAMED else ""
    return ", ".join(named[:NAMED]) + more


def _row(table: Table, i: int) -> dict[str, Any]:
    own = table.examples
    return {
        **own.place_fields(i),
        "text": _printable(own.texts[i][:MAX_CHARACTERS]),
        "label": _printable(", ".join(own.labels[i])[:MAX_CHARACTERS]),
    }


def _message(table: Table, check: Mapping[str, Any], context: Context) -> str:
    """Return one line about a check.

    It names rows and labels but contains no text of the data: messages are logged.
    """
    name, count, settings = check["name"], check["count"], context.settings
    start = f"{table.file}, {name}"
    if name == "columns":
        return table.unreadable or f"{start}: complete"
    if name == "classes":
        return f"{start}: {_classes(table, check, settings)}"
    if name == "truncated" and count:
        return f"{start}: {truncation_message(table.lengths, settings.base, context.base.positions)}"
    if name == "unlabelled" and table.dropped:
        return f"{start}: {counted(table.dropped, 'row')} without a label dropped (data.unlabelled=drop)"
    change = table.changes.get(name)
    if change and check["passed"]:
        return f"{start}: {change}"
    return f"{start}: {f'{change}; ' if change else ''}{_result(table, check, settings)}"


def _result(table: Table, check: Mapping[str, Any], settings: Settings) -> str:
    count, helpful = check["count"], _helpful(table, check["name"], settings)
    rule = rules(settings.validate, table.part, settings.data.rare_below, helpful).get(check["name"])
    if check["passed"]:
        return rule.holds if rule else "met"
    unit = rule.unit if rule else "row"
    named = [
        excerpt(row["label"], 40) if unit == "class" else row_place(row) for row in check["rows"][:NAMED]
    ]
    more = f" and {count - NAMED:,} more" if count > NAMED else ""
    units = unit if count == 1 else {"row": "rows", "class": "classes"}[unit]
    between = "; " if any(row.get("id") for row in check["rows"]) and unit == "row" else ", "
    shown = f" ({between.join(named)}{more})" if named else ""
    if rule is None:
        return f"not met in {count:,} {units}{shown}; see validate.suite"
    share = f" ({count / len(table.examples):.0%})" if check["name"] in USUAL else ""
    remedy = _merge_first(table, check) + rule.remedy
    return f"{count:,} {units}{share} {rule.fails}{shown}; {remedy}"


def _helpful(table: Table, check: str, settings: Settings) -> tuple[str, ...]:
    """Return the values of `data.rare` that help against the small classes of a check."""
    if check not in ("class_size", "rare_class"):
        return ()
    data, limit = settings.data, settings.validate.min_examples_per_class
    return helpful_settings(_sizes(table), limit if check == "class_size" else data.rare_below, data)


def _sizes(table: Table) -> Counter[str]:
    return Counter(name for names in table.examples.labels for name in names)


def _merge_first(table: Table, check: Mapping[str, Any]) -> str:
    """Return the remedy for small classes whose labels look like other labels. Empty: none does."""
    if check["name"] != "class_size":
        return ""
    alike = {_printable(name) for group in lookalike_labels(_sizes(table)) for name, _ in group}
    found = [row["label"] for row in check["rows"] if row["label"] in alike]
    if not found:
        return ""
    looks, them = ("looks", "it") if len(found) == 1 else ("look", "them")
    return (
        f"{_listed([excerpt(name, 40) for name in found])} {looks} like another label, so merge {them}: "
        "--set data.normalize_labels=true. Otherwise: "
    )


def _classes(table: Table, check: Mapping[str, Any], settings: Settings) -> str:
    found, most = class_names(table.examples.labels), settings.validate.max_classes
    shown = f"1 class, {excerpt(found[0], 40)}" if len(found) == 1 else f"{len(found):,} classes"
    allowed = f"{shown}; allowed: 2 to {most:,} (validate.max_classes)"
    if check["passed"]:
        return allowed
    return f"{allowed}; is column '{settings.data.label_column}' (data.label_column) the one with the labels?"


def _printable(text: str) -> str:
    """Return `text` with an escape sequence for each lone surrogate, which UTF-8 cannot encode."""
    return text.encode("utf-8", "backslashreplace").decode()
