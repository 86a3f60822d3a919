from __future__ import annotations

from pathlib import Path

from flows.audit_text import audit_text
from tests.tasks.reporting.test_audit_findings import NOTHING, audit
from tokensieve.project import Layout

LENGTHS = NOTHING["lengths"] | {"p90": 20, "share": 0.0, "max_length": 128}
TOTALS = NOTHING["totals"] | {"copy_sets": 0, "similar_sets": 0}


def test_no_label_errors_are_no_proof(tmp_path: Path) -> None:
    text = audit_text(audit(lengths=LENGTHS, totals=TOTALS), Layout(tmp_path), ".")
    assert "\n\nLikely label errors: none in 100 texts; that is no proof: of the wrong labels planted" in text
    few = audit(lengths=LENGTHS, totals=TOTALS, not_judged="there are too few texts")
    assert "\n\nLikely label errors: there are too few texts\n\n" in audit_text(few, Layout(tmp_path), ".")
