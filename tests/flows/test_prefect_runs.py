"""Which runs of a project are alive, and what reaches a run's page; with real servers:
tests/system/test_schedule.py.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from flows import prefect_runs
from tokensieve.errors import InputError
from tokensieve.files import read_json, write_json
from tokensieve.project import Layout

PARAMETERS = {"data": "texts.csv", "test": None, "force": False}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.active.mkdir(parents=True)
    return made


@pytest.fixture
def waiting(layout: Layout) -> Iterator[None]:
    """Another run of the project that waits for its turn."""
    write_json(layout.active / "other.json", PARAMETERS | {"waits": True})
    with FileLock(layout.active / "other.lock"):
        yield


def test_a_run_is_listed_while_it_works(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_runs, "_run_id", lambda: "own")
    with prefect_runs.alone(layout, PARAMETERS, skip=True) as turn:
        assert turn
        assert read_json(layout.active / "own.json") == PARAMETERS | {"waits": False}
    assert list(layout.active.iterdir()) == []


@pytest.mark.usefixtures("waiting")
def test_a_run_is_skipped_if_one_with_the_same_parameters_waits(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_runs, "_run_id", lambda: "own")
    turns = []
    for parameters, skip in ((PARAMETERS, True), (PARAMETERS, False), (PARAMETERS | {"force": True}, True)):
        with prefect_runs.alone(layout, parameters, skip) as turn:
            turns.append(turn)
    assert turns == [False, True, True]


def test_a_killed_run_does_not_count_as_waiting_and_is_closed(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_runs, "_run_id", lambda: "own")
    closed: list[Path] = []
    monkeypatch.setattr(prefect_runs, "_close", lambda _, note: (closed.append(note), note.unlink()))
    monkeypatch.setattr(prefect_runs, "get_client", lambda **_: contextlib.nullcontext())
    write_json(layout.active / "other.json", PARAMETERS | {"waits": True})
    (layout.active / "other.lock").touch()
    with prefect_runs.alone(layout, PARAMETERS, skip=True) as turn:
        assert turn
    assert closed == [layout.active / "other.json"]


def test_a_run_that_ends_during_the_look_is_no_error(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    note = layout.active / "other.json"
    write_json(note, PARAMETERS | {"waits": True})

    class Ending(FileLock):
        """A lock that is acquired just when the run that had it has deleted both of its files."""

        def __enter__(self) -> Ending:
            super().__enter__()
            note.unlink()
            Path(self.lock_file).unlink()
            return self

    monkeypatch.setattr(prefect_runs, "FileLock", Ending)
    assert list(prefect_runs._waiting(layout.active, "own")) == []
    assert list(layout.active.iterdir()) == []


def test_a_run_that_fails_is_listed_no_longer(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_runs, "_run_id", lambda: "own")
    with pytest.raises(InputError), prefect_runs.alone(layout, PARAMETERS, skip=False):
        raise InputError("bad")
    assert list(layout.active.iterdir()) == []


def test_a_call_without_prefect_is_not_listed(layout: Layout) -> None:
    with prefect_runs.alone(layout, PARAMETERS, skip=True) as turn:
        assert turn
        assert list(layout.active.iterdir()) == []


def test_an_input_error_is_logged_without_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("tests.runs")
    logger.addFilter(prefect_runs.WithoutTraceback())
    for kind in (InputError, RuntimeError):
        try:
            try:
                raise ValueError("a user's text")
            except ValueError as error:
                raise kind("row 3 is empty; give 100%") from error
        except (InputError, RuntimeError):
            logger.exception("failed: %r", 1)
    first, second = caplog.records
    assert (first.getMessage(), first.exc_info) == ("row 3 is empty; give 100%", None)
    assert second.getMessage() == "failed: 1"
    assert second.exc_info
