"""The lines of `tokensieve up` about the project's runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from flows.up.run_lines import RunLines
from tasks.projects.last_look import LastLook, note_look
from tasks.projects.last_run import note_begin, note_failure, note_result
from tokensieve.files import write_json
from tokensieve.project import Layout


def test_each_begin_and_each_end_of_a_run_is_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = Layout(tmp_path)
    note_begin(layout)
    note_failure(layout, "before this start", "mask")
    caplog.set_level("INFO", "tokensieve")
    lines = RunLines(layout)
    lines.log_new()
    assert caplog.messages == []

    note_begin(layout)
    lines.log_new()
    lines.log_new()
    note_result(layout, "Version 2 of mails, now the champion: good enough")
    lines.log_new()
    note_failure(layout, "base.model 'tiny' was not found; name a folder", "ingest")
    lines.log_new()
    lines.log_new()
    assert caplog.messages == [
        "run began",
        "run ended: Version 2 of mails, now the champion: good enough",
        "run failed in ingest: base.model 'tiny' was not found; name a folder",
    ]
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO", "WARNING"]


def test_a_look_is_a_line_only_when_it_begins_to_fail_or_works_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = Layout(tmp_path)
    caplog.set_level("INFO", "tokensieve")
    lines = RunLines(layout)
    for reason in ("", "mails.csv does not exist", "mails.csv does not exist", "no disk space", "", ""):
        note_look(layout, "watch", "" if reason else "mails.csv is unchanged.", reason)
        lines.log_new()
    assert caplog.messages == [
        "watch failed: mails.csv does not exist",
        "watch failed: no disk space",
        "watch works again",
    ]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO"]


def test_a_look_that_failed_before_is_a_line_if_it_fails_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = Layout(tmp_path)
    earlier = LastLook("2026-01-01T00:00:00+00:00", reason="mails.csv does not exist")
    layout.looks.mkdir(parents=True)
    write_json(layout.looks / "watch.json", asdict(earlier))
    lines = RunLines(layout)
    lines.log_new()
    assert caplog.messages == []
    note_look(layout, "watch", reason=earlier.reason)
    lines.log_new()
    lines.log_new()
    assert caplog.messages == ["watch failed: mails.csv does not exist"]
