from __future__ import annotations

from pathlib import Path

import pytest

from tasks.artifacts import Registration
from tasks.reporting.write_report import is_current, write_report
from tasks.tracking.mlflow_client import connect
from tokensieve.errors import InputError
from tokensieve.files import write_json
from tokensieve.project import Layout
from tokensieve.registry.store import tracking_uri
from tokensieve.settings import Settings


@pytest.fixture
def registered(layout: Layout) -> Layout:
    """The project, with a run in its registry."""
    client = connect(tracking_uri(layout, Settings()))
    experiment = client.create_experiment("e", artifact_location=layout.runs.as_uri())
    run = client.create_run(experiment, tags={"tokensieve.lock_hash": "beef"})
    Registration(run.info.run_id, "cards", "2", "models:/cards/2").save(layout.registration)
    return layout


def test_texts_are_in_the_page_on_disk_only(registered: Layout) -> None:
    path = write_report(registered, Settings())
    assert path == registered.report
    page = path.read_text(encoding="utf-8")
    assert "my private words" in page
    assert "beef" in page
    (logged,) = registered.runs.rglob("report.html")
    assert "my private words" not in logged.read_text(encoding="utf-8")
    assert "cards version 2" in logged.read_text(encoding="utf-8")


def test_a_report_is_current_until_something_that_it_shows_changes(registered: Layout) -> None:
    assert not is_current(registered)
    write_report(registered, Settings())
    assert is_current(registered)
    write_json(registered.evaluation / "report.json", {})
    assert not is_current(registered)


def test_a_deleted_report_is_not_current(registered: Layout) -> None:
    write_report(registered, Settings()).unlink()
    assert not is_current(registered)


def test_without_a_registered_model_there_is_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run tokensieve run"):
        write_report(Layout(tmp_path), Settings())
