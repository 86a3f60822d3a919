"""The verdict on a run's model, with the remedy that the audit adds: corrected labels."""

from __future__ import annotations

from typing import Any

from tasks.auditing.audit_report import Audit
from tasks.reporting.audit_findings import remedy
from tokensieve.evaluation.verdict_sentence import in_one_sentence
from tokensieve.files import read_json
from tokensieve.project import Layout


def run_verdict(layout: Layout) -> dict[str, Any] | None:
    """Return the verdict in the evaluation's report. None: an earlier version wrote none.

    If the audit finds likely label errors, their correction is among the remedies.
    """
    verdict: dict[str, Any] | None = read_json(layout.evaluation / "report.json").get("verdict")
    audit = Audit.load_or_none(layout.audit)
    correction, is_first = remedy(audit) if audit else ("", False)
    if not verdict or not correction:
        return verdict
    others = tuple(verdict["remedies"])
    remedies = (correction, *others) if is_first else (*others[:1], correction, *others[1:])
    sentence = in_one_sentence(verdict["good_for"], verdict["advice"], remedies)
    return verdict | {"remedies": remedies, "sentence": sentence}
