"""The top of the report: its colour and the advice to promote."""

from __future__ import annotations

import pytest

from tasks.promotion.gate_report import GateReport, Row
from tasks.reporting.headline import advice, is_advised
from tests.tasks.reporting.conftest import VERDICT
from tokensieve.evaluation.verdict import Grade

REFUSAL = GateReport("m", "2", "1", "", (Row("texts", "lost 9", "", "worse", refuses=True),))


@pytest.mark.parametrize(
    ("grade", "promote", "is_good"),
    [
        (Grade.ALONE, True, True),
        (Grade.ASSISTS, True, None),
        (Grade.EVEN, False, None),
        (Grade.LOSES, False, False),
        (Grade.UNREADY, False, False),
    ],
)
def test_the_colour_is_of_the_grade_and_a_refusal_is_bad(
    grade: Grade, promote: bool, is_good: bool | None
) -> None:
    verdict = VERDICT | {"grade": grade.value, "promote": promote}
    found, refused = advice(verdict, None), advice(verdict, REFUSAL)
    assert found is not None
    assert refused is not None
    assert (found.is_good, found.title, refused.is_good) == (is_good, grade.value, False)
    assert is_advised(verdict, None) is promote
    assert not is_advised(verdict, REFUSAL)
    assert is_advised(None, None)
