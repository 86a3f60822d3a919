from __future__ import annotations

from pathlib import Path

import pytest

from tasks import durations


def test_what_a_step_took_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "seconds.json"
    durations.keep_seconds(path, "mask", 3.14)
    durations.keep_seconds(path, "export", 7.0)
    durations.keep_seconds(path, "mask", 4.0)
    assert durations.last_seconds(path) == {"mask": 4.0, "export": 7.0}


@pytest.mark.parametrize("content", ["", "[1]", '{"mask": "long"}', "\x00"])
def test_a_damaged_file_of_durations_is_ignored(content: str, tmp_path: Path) -> None:
    path = tmp_path / "seconds.json"
    assert durations.last_seconds(path) == {}
    path.write_text(content)
    assert durations.last_seconds(path) == {}
    durations.keep_seconds(path, "mask", 1.0)
    assert durations.last_seconds(path) == {"mask": 1.0}
