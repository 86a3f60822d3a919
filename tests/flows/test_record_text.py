"""The record of promotions as a table."""

from __future__ import annotations

from typing import Any

import pytest

from flows.record_text import record_text
from tasks.promotion.gate_report import GateReport, Row


def _entry(gate: GateReport | None, **values: Any) -> dict[str, Any]:
    entry = {
        "number": 1,
        "at": "2026-11-28T18:48:31+00:00",
        "action": "promote",
        "from": None,
        "to": "1",
        "reason": None,
        "user": "root",
        "host": "vm",
        "flow_run": None,
        "gate": gate and gate.tree(),
        "forced": False,
        "outcome": "done",
    }
    return entry | values


def _text(*entries: dict[str, Any]) -> str:
    return record_text({"model": "shop", "entries": list(entries), "intact": True, "fault": None})


@pytest.mark.parametrize(
    ("rows", "not_compared", "verdict"),
    [
        ((Row("accuracy", "0.9 to 0.5", "", "significantly worse", True),), "", "refused"),
        ((Row("accuracy", "0.9 to 0.9", "", "no measurable change"),), "", "passed"),
        ((), "model 'shop' has no champion yet", "not compared"),
    ],
)
def test_the_table_has_the_outcome_of_the_gate(
    rows: tuple[Row, ...], not_compared: str, verdict: str
) -> None:
    report = GateReport("shop", "1", None, "2026-11-28T18:48:31+00:00", rows, not_compared)
    assert f"│ {verdict} " in _text(_entry(report))
    assert f"{verdict}, forced" in _text(_entry(report, forced=True))


def test_entries_are_counted() -> None:
    assert "The record is intact: 1 entry," in _text(_entry(None))
    assert "The record is intact: 2 entries," in _text(_entry(None), _entry(None, number=2))
