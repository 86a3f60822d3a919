"""The Data Docs: the results of the checks, the classes and the lengths of the data on one page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tasks.expectations import Finding, Table
from tasks.faulty_rows import NAME as FAULTS
from tasks.validation_report import LISTED, NAMED
from tokensieve.data.row_place import row_place
from tokensieve.report.distributions import PartTexts, class_table, length_chart
from tokensieve.report.page import FORBIDDEN, stylesheet

PAGE = Markup("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}: Data Docs</title>
<style>
{style}
tr.error td:first-child {{ color: var(--bad) }}
tr.warning td:first-child {{ color: var(--fair) }}
tr.note {{ color: inherit; font-size: inherit }}
tr.note td:first-child {{ color: var(--c1) }}
.key::before, .key.c3::before, .key.quiet::before {{
  width: .7rem; height: .7rem; border: 0; border-radius: 2px; background: var(--tint)
}}
@media (max-width: 40rem) {{ th.number, td.number {{ padding-right: .25rem }} .key {{ gap: .2rem }} }}
</style>
</head>
<body>
<header>
<h1>{title}: Data Docs</h1>
<p class="soft">Checks of the data, classes, and lengths of the texts. The texts are not shown.</p>
</header>
<main>
{body}
</main>
</body>
</html>
""")
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
    body = [_section("Checks", _table("Checks", ["Result", "Check"], rows))]
    at_fault = [
        (outcome, [check["name"], check["part"], row_place(row), row["label"]])
        for outcome, check in results
        for row in (() if check["passed"] else check["rows"])
        if row["row"]
    ]
    if at_fault:
        title_of_rows = f"Rows at fault: the first {LISTED} of each check; all are in {FAULTS}"
        head = ["Check", "Part", "Row", "Label"]
        body.append(_section(title_of_rows, _table("Rows at fault", head, at_fault)))
    parts = [PartTexts(own.name, own.examples.labels, own.lengths) for own, _ in tables if own.is_part]
    body.append(_section("Texts per class", class_table(parts)))
    body.append(_section("Tokens per text", length_chart(parts, max_length)))
    for table, findings in tables:
        met = sum(finding.met for finding in findings)
        head = ["Result", "Expectation", "Arguments", "Found"]
        shown = _table(f"Expectations of {table.name}", head, map(_expectation, findings))
        body.append(_section(f"{table.name}: {met} of {len(findings)} expectations met", shown))
    page = PAGE.format(title=title, style=Markup(stylesheet()), body=Markup("\n").join(body))
    return FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", page)


def _outcome(check: Mapping[str, Any], dropped: set[tuple[str, str]]) -> str:
    """Return the result of a check. A note is that the settings changed the data to meet it."""
    if not check["passed"]:
        return str(check["severity"])
    return "note" if check["changed"] or (check["name"], check["part"]) in dropped else "passed"


def _section(title: str, content: Markup) -> Markup:
    """Return a section. Empty if it has no content."""
    return Markup("<section>\n<h2>{}</h2>\n{}\n</section>").format(title, content) if content else Markup()


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


def _table(name: str, head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> Markup:
    """Return a table that scrolls if it is wider than the window. A row's class is its result."""
    heads = Markup().join(Markup('<th scope="col">{}</th>').format(title) for title in head)
    lines = [
        Markup('<tr class="{}">{}</tr>').format(
            kind, Markup().join(Markup("<td>{}</td>").format(cell) for cell in cells)
        )
        for kind, cells in rows
    ]
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{}"><table>'
        "<thead><tr>{}</tr></thead><tbody>\n{}\n</tbody></table></div>"
    ).format(name, heads, Markup("\n").join(lines))
