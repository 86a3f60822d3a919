from __future__ import annotations

from pathlib import Path

import pytest

from tasks.artifacts import Registration
from tasks.promotion.registered_report import registered_report, report_hashes
from tokensieve.files import write_json
from tokensieve.project import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A project with the reports of the run that registered version 2 of model m."""
    layout = Layout(tmp_path)
    for folder in (layout.validation, layout.evaluation):
        folder.mkdir(parents=True)
        write_json(folder / "report.json", {"of": folder.name})
    Registration("0" * 32, "m", "2", "models:/m/2", "1", report_hashes(layout)).save(layout.registration)
    return layout


def test_the_reports_are_those_of_the_registered_version_alone(layout: Layout) -> None:
    assert registered_report(layout, layout.validation, "m", "2") == {"of": "validation"}
    assert registered_report(layout, layout.evaluation, "m", "2") == {"of": "evaluation"}
    assert registered_report(layout, layout.validation, "m", "1") is None
    assert registered_report(layout, layout.validation, "other", "2") is None


def test_a_report_of_a_later_run_is_not_of_the_version(layout: Layout) -> None:
    """The clock does not matter: the content does."""
    report = layout.validation / "report.json"
    write_json(report, {"of": "later"})
    assert registered_report(layout, layout.validation, "m", "2") is None
    assert registered_report(layout, layout.evaluation, "m", "2") == {"of": "evaluation"}
    write_json(report, {"of": "validation"})
    assert registered_report(layout, layout.validation, "m", "2") == {"of": "validation"}
    report.unlink()
    assert registered_report(layout, layout.validation, "m", "2") is None


def test_a_registration_of_before_has_no_hashes(layout: Layout) -> None:
    Registration("0" * 32, "m", "2", "models:/m/2").save(layout.registration)
    write_json(layout.validation / "report.json", {"of": "any"})
    assert registered_report(layout, layout.validation, "m", "2") == {"of": "any"}
    (layout.registration / "registration.json").unlink()
    assert registered_report(layout, layout.validation, "m", "2") is None
