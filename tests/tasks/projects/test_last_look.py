"""The notes of how the last looks of watch and monitor went."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.projects.last_look import FLOWS, last_look, note_look
from tokensieve.project import Layout


def test_each_flow_has_a_note_of_its_own(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert [last_look(layout, flow) for flow in FLOWS] == [None, None]
    note_look(layout, "watch", "mails.csv is unchanged.")
    note_look(layout, "monitor", reason="log.jsonl does not exist")
    watch, monitor = (last_look(layout, flow) for flow in FLOWS)
    assert watch and (watch.result, watch.reason) == ("mails.csv is unchanged.", "")
    assert monitor and (monitor.result, monitor.reason) == ("", "log.jsonl does not exist")
    note_look(layout, "monitor", "No drift")
    monitor = last_look(layout, "monitor")
    assert monitor and (monitor.result, monitor.reason) == ("No drift", "")
    note_look(layout, "monitor", reason="no log", received=("prefect",))
    monitor = last_look(layout, "monitor")
    assert monitor and monitor.received == ("prefect",)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"ended": "", "received": 1}',
        '{"ended": "", "other": 1}',
        "{}",
        '{"ended": null}',
        '{"ended": "", "reason": ["x"]}',
    ],
)
def test_a_damaged_note_is_none(tmp_path: Path, content: str) -> None:
    layout = Layout(tmp_path)
    note_look(layout, "watch", "mails.csv is unchanged.")
    (layout.looks / "watch.json").write_text(content)
    assert last_look(layout, "watch") is None


def test_a_note_that_cannot_be_written_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = Layout(tmp_path)
    (layout.looks / "watch.json").mkdir(parents=True)
    note_look(layout, "watch", "mails.csv is unchanged.")
    assert caplog.messages == [
        "warning: the result of watch could not be saved for tokensieve status (Is a directory)"
    ]
