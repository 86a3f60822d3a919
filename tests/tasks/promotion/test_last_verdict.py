from __future__ import annotations

from pathlib import Path

from tasks.artifacts import Registration
from tasks.promotion.last_verdict import advice_against
from tokensieve.files import write_json
from tokensieve.project import Layout

AGAINST = {"promote": False, "good_for": "not good enough", "advice": "do not promote it yet"}


def test_the_verdict_is_named_for_the_version_of_the_last_run_alone(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert advice_against(layout, "m", "2") == ""  # nothing was registered
    Registration("0" * 32, "m", "2", "models:/m/2").save(layout.registration)
    assert advice_against(layout, "m", "2") == ""  # nothing was evaluated
    layout.evaluation.mkdir(parents=True)
    report = layout.evaluation / "report.json"
    write_json(report, {"verdict": AGAINST})
    assert advice_against(layout, "m", "2") == "not good enough: do not promote it yet"
    assert advice_against(layout, "m", "1") == ""
    write_json(report, {"verdict": AGAINST | {"promote": True}})
    assert advice_against(layout, "m", "2") == ""
