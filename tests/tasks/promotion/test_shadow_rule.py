"""The gate's row on what a server with a challenger found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.promotion.gate_report import GateReport
from tasks.promotion.shadow_rule import shadow_row, with_shadow
from tokensieve.inference.shadow_report import ComparedModel, Comparison, ShadowReport
from tokensieve.project import Layout

FOUND = ShadowReport(
    ComparedModel("3", "intents-3-0123abcd", "data-3"),
    ComparedModel("4", "intents-4-4567cdef", "data-4"),
    0.1,
    "2026-01-01T00:00:00+00:00",
    "2026-01-02T00:00:00+00:00",
    Comparison(1200, 1150, 0.9, 0.91, 2.0, 2.1),
    Comparison(1000, 990, 0.95, 0.95, 2.0, 2.1),
    1050,
    1060,
    7,
    0,
    {},
)
REPORT = GateReport("intents", "4", "3", "", (), basis={"challenger": "4 4567cdef", "champion": "3 0123abcd"})


def test_without_a_limit_the_row_is_information() -> None:
    row = shadow_row(FOUND, 0.0)
    assert row.value == (
        "95.8% of 1,200 texts agree, 99.0% of 1,000 texts that both answer with confidence; 7 dropped"
    )
    assert (row.limit, row.verdict, row.refuses) == ("", "for information", False)


@pytest.mark.parametrize(
    ("limit", "agreed", "texts", "refuses"),
    [
        (0.98, 990, 1000, False),
        (0.998, 990, 1000, True),  # upper bound of the interval: 0.9952
        (0.993, 990, 1000, False),  # below the limit, and perhaps by chance
        (0.99, 9, 10, False),
        (0.998, 0, 0, False),
    ],
)
def test_a_limit_refuses_what_is_not_chance(limit: float, agreed: int, texts: int, refuses: bool) -> None:
    found = replace(FOUND, confident=Comparison(texts, agreed))
    row = shadow_row(found, limit)
    assert row.refuses is refuses
    assert row.verdict == ("below the limit" if refuses else "within the limit")
    assert row.limit.startswith(f"{limit:.1%} of the confident ones")


def test_the_row_is_added_if_the_comparison_is_of_these_versions(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert with_shadow(REPORT, layout, 0.0) == REPORT
    FOUND.save(layout.shadow)
    assert with_shadow(REPORT, layout, 0.0).rows == (shadow_row(FOUND, 0.0),)
    assert with_shadow(REPORT, layout, 0.998).refused
    for other in (
        {"challenger": "5 4567cdef", "champion": "3 0123abcd"},
        {"challenger": "4 4567cdef", "champion": "2 0123abcd"},
        {"challenger": "4 another0", "champion": "3 0123abcd"},  # the registry was created again
    ):
        unrelated = replace(REPORT, basis=other)
        assert with_shadow(unrelated, layout, 0.998) == unrelated
    layout.shadow.write_text("{", encoding="utf-8")
    assert with_shadow(REPORT, layout, 0.998) == REPORT
