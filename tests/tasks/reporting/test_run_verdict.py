"""The verdict on a run names the labels that the audit doubts."""

from __future__ import annotations

from tasks.reporting.run_verdict import run_verdict
from tests.tasks.reporting.conftest import VERDICT
from tests.tasks.reporting.test_audit_findings import NOTHING, audit
from tokensieve.files import write_json
from tokensieve.project import Layout


def test_many_likely_label_errors_are_the_first_remedy_of_the_sentence(layout: Layout) -> None:
    layout.audit.mkdir(parents=True)
    audit(totals={**NOTHING["totals"], "label_errors": 67}, judged=900).save(layout.audit)
    verdict = run_verdict(layout)
    assert verdict is not None
    correction = "corrected labels: 67 labels are likely wrong (artifacts/audit/review.csv)"
    assert verdict["remedies"] == (correction, *VERDICT["remedies"])
    assert verdict["sentence"].endswith(f"; what would help most: {correction}.")


def test_few_come_after_the_first_remedy(layout: Layout) -> None:
    layout.audit.mkdir(parents=True)
    audit(totals={**NOTHING["totals"], "label_errors": 1}, judged=900).save(layout.audit)
    verdict = run_verdict(layout)
    assert verdict is not None
    assert verdict["remedies"][0] == VERDICT["remedies"][0]
    assert verdict["remedies"][1].startswith("corrected labels: 1 label is likely wrong")


def test_without_an_audit_the_verdict_is_that_of_the_evaluation(layout: Layout) -> None:
    assert run_verdict(layout) == VERDICT


def test_an_evaluation_of_an_earlier_version_has_no_verdict(layout: Layout) -> None:
    write_json(layout.evaluation / "report.json", {})
    assert run_verdict(layout) is None
