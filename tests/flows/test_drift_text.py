"""A comparison of traffic with held-out texts, in words."""

from __future__ import annotations

import pytest

from flows.drift_text import drift_text
from tasks.monitoring.drift import DriftReport
from tokensieve.monitoring import drift
from tokensieve.monitoring.drift import Drift
from tokensieve.monitoring.two_samples import Difference


@pytest.mark.parametrize(("p", "verdict"), [(0.006, "may differ by chance"), (2e-89, "is hardly chance")])
def test_a_first_window_that_differs_has_the_chance_and_the_next_step(p: float, verdict: str) -> None:
    tests = (drift.Test("domain", p, 0.4, 0.05), drift.Test("length", 1.0, 0.0, 0.1))
    share = (0.8, 0.7, 0.9)
    found = Drift(tests, 260, 500, share, share, (), (), Difference(1.0, 0.0))
    shown = drift_text(DriftReport("tickets", "1", "a", "b", differs=True, found=found), words=False)
    assert verdict in shown.splitlines()[0]
    assert "artifacts/drift/report.json" in shown
    assert "tokensieve run --data FILE" in shown
