"""The note of how the last run of a project went."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.projects.last_run import last_run, note_begin, note_failure, note_result
from tokensieve.project import Layout


def test_a_run_is_noted_from_its_begin_to_its_end(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert last_run(layout) is None
    note_begin(layout)
    begun = last_run(layout)
    assert begun and (begun.ended, begun.result, begun.reason) == ("", "", "")
    note_result(layout, "Version 2 of mails")
    ended = last_run(layout)
    assert ended and (ended.began, ended.result, ended.reason) == (begun.began, "Version 2 of mails", "")
    # Its promotion fails.
    note_failure(layout, "the registry does not respond", "")
    failed = last_run(layout)
    assert failed and (failed.result, failed.reason) == ("", "the registry does not respond")


@pytest.mark.parametrize("content", ["", "[]", '{"ended": "", "other": 1}', "{}"])
def test_a_damaged_note_is_none(tmp_path: Path, content: str) -> None:
    layout = Layout(tmp_path)
    note_begin(layout)
    layout.last_run.write_text(content)
    assert last_run(layout) is None
