"""The row of the gate's report on a server's comparison of challenger and champion.

It is added to each report afresh, never kept with it: the server goes on comparing.
"""

from __future__ import annotations

from dataclasses import replace

from tasks.promotion.gate_report import GateReport, Row
from tokensieve.evaluation.intervals import interval
from tokensieve.inference.shadow_report import ComparedModel, Comparison, ShadowReport
from tokensieve.project import Layout


def with_shadow(report: GateReport, layout: Layout, min_agreement: float) -> GateReport:
    """Return the report with the row on the comparison if the project has one of these versions.

    Args:
        report: The report of the gate.
        layout: The project, which may have the file of `tokensieve serve --shadow`.
        min_agreement: The share of the texts that both answer with confidence on which they must
            agree. 0: the row refuses nothing.
    """
    found = ShadowReport.load(layout.shadow)
    if found is None or not (
        _is(found.champion, report.basis.get("champion", ""))
        and _is(found.challenger, report.basis.get("challenger", ""))
    ):
        return report
    return replace(report, rows=(*report.rows, shadow_row(found, min_agreement)))


def shadow_row(found: ShadowReport, min_agreement: float) -> Row:
    """Return the row on a comparison.

    It refuses an agreement below the limit, unless that may be chance.
    """
    confident = found.confident
    value = f"{_agreed(found.total)} agree, {_agreed(confident)} that both answer with confidence"
    left_out = {"dropped": found.dropped, "failed": found.failed}
    value += "".join(f"; {count:,} {what}" for what, count in left_out.items() if count)
    if not min_agreement:
        return Row("shadow", value, "", "for information")
    limit = f"{min_agreement:.1%} of the confident ones (gate.min_shadow_agreement)"
    is_below = interval(confident.agreed, confident.texts)[1] < min_agreement
    return Row("shadow", value, limit, "below the limit" if is_below else "within the limit", is_below)


def _agreed(compared: Comparison) -> str:
    share = "none" if compared.agreement is None else f"{compared.agreement:.1%}"
    return f"{share} of {compared.texts:,} texts"


def _is(compared: ComparedModel, version_and_mark: str) -> bool:
    """Return whether a model is a version of the registry.

    A model of a fixed number has no identity.
    """
    number, _, mark = version_and_mark.partition(" ")
    return compared.version == number and (
        not compared.identity or compared.identity.endswith(f"-{number}-{mark}")
    )
