"""The Data Docs: the results of the checks, the classes and the lengths of the data on one page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.expectations import Finding, Table
from tasks.faulty_rows import NAME as FAULTS
from tasks.validation_report import LISTED, NAMED
from tokensieve.data.row_place import row_place
from tokensieve.report.distributions import PartTexts, class_table, length_chart
from tokensieve.report.page import Section, render_data_docs

OUTCOMES = ("error", "warning", "note", "passed")  # in the order of the page


def data_docs(
    title: str,
    checks: Sequence[Mapping[str, Any]],
    tables: Sequence[tuple[Table, Sequence[Finding]]],
    max_length: int,
) -> str:
    """Return the Data Docs as an HTML page.

    It shows the result of each check, the classes and the lengths of the texts, then the
    expectations of each table. The page contains no text of the data and loads nothing. Labels and
    file names are escaped. `max_length` is the number of tokens after which texts are truncated.
    """
    dropped = {("unlabelled", table.part) for table, _ in tables if table.dropped}
    results = [(_outcome(check, dropped), check) for check in checks]
    results.sort(key=lambda result: OUTCOMES.index(result[0]))
    rows = [(outcome, [outcome, check["message"]]) for outcome, check in results]
    sections = [Section("Checks", "Checks", ["Result", "Check"], rows)]
    at_fault = [
        (outcome, [check["name"], check["part"], row_place(row), row["label"]])
        for outcome, check in results
        for row in (() if check["passed"] else check["rows"])
        if row["row"]
    ]
    if at_fault:
        title_of_rows = f"Rows at fault: the first {LISTED} of each check; all are in {FAULTS}"
        head = ["Check", "Part", "Row", "Label"]
        sections.append(Section(title_of_rows, "Rows at fault", head, at_fault))
    parts = [PartTexts(own.name, own.examples.labels, own.lengths) for own, _ in tables if own.is_part]
    drawn = {"Texts per class": class_table(parts), "Tokens per text": length_chart(parts, max_length)}
    sections += [Section(name, content=content) for name, content in drawn.items() if content]
    for table, findings in tables:
        met = sum(finding.met for finding in findings)
        sections.append(
            Section(
                f"{table.name}: {met} of {len(findings)} expectations met",
                f"Expectations of {table.name}",
                ["Result", "Expectation", "Arguments", "Found"],
                list(map(_expectation, findings)),
            )
        )
    return render_data_docs(title, sections)


def _outcome(check: Mapping[str, Any], dropped: set[tuple[str, str]]) -> str:
    """Return the result of a check. A note is that the settings changed the data to meet it."""
    if not check["passed"]:
        return str(check["severity"])
    return "note" if check["changed"] or (check["name"], check["part"]) in dropped else "passed"


def _expectation(finding: Finding) -> tuple[str, list[str]]:
    arguments = {
        key: [*value[:NAMED], f"and {len(value) - NAMED:,} more"]
        if isinstance(value, list) and len(value) > NAMED
        else value
        for key, value in finding.arguments.items()
    }
    found = f"{finding.count:,} unexpected values found" if finding.count else ""
    outcome = "met" if finding.met else "failed"
    kind = "passed" if finding.met else "error" if finding.stops else "warning"
    return kind, [outcome, finding.type, json.dumps(arguments, ensure_ascii=False, default=str), found]
