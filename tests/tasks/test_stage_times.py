"""What steps took last time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.stage_times import last_seconds, note_seconds


def test_what_a_step_took_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "seconds.json"
    note_seconds(path, "mask", 3.14)
    note_seconds(path, "export", 7.0)
    note_seconds(path, "mask", 4.0)
    assert last_seconds(path) == {"mask": 4.0, "export": 7.0}


@pytest.mark.parametrize("content", ["", "[1]", '{"mask": "long"}', "\x00"])
def test_a_file_that_is_broken_is_no_trouble(content: str, tmp_path: Path) -> None:
    path = tmp_path / "seconds.json"
    assert last_seconds(path) == {}
    path.write_text(content)
    assert last_seconds(path) == {}
    note_seconds(path, "mask", 1.0)
    assert last_seconds(path) == {"mask": 1.0}
