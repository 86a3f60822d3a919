"""Windows of traffic from the server's log of texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.monitoring.traffic import Window, read_window
from tokensieve.errors import InputError

DAYS = [f"2026-01-0{day}T10:00:00.000+00:00" for day in range(1, 9)]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(text: str, time: str, **fields: object) -> dict[str, object]:
    return {"text": text, "label": "other", "time": time} | fields


def test_a_window_has_the_texts_after_a_time(tmp_path: Path) -> None:
    path = write(
        tmp_path / "log.jsonl", [row("a", "2026-01-01"), row("b", "2026-01-02"), row("c", "2026-01-03")]
    )
    assert read_window(path) == Window(("a", "b", "c"), "2026-01-01", "2026-01-03")
    assert read_window(path, after="2026-01-01") == Window(("b", "c"), "2026-01-02", "2026-01-03")
    assert read_window(path, after="2026-01-03") == Window((), "", "")


def test_of_several_tasks_the_named_one_counts(tmp_path: Path) -> None:
    path = write(
        tmp_path / "log.jsonl",
        [row("a", DAYS[1], task="x"), row("a", DAYS[1], task="y"), row("b", DAYS[2], task="x")],
    )
    assert read_window(path, task="x").texts == ("a", "b")


def test_a_window_ends_with_the_last_texts_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.monitoring.traffic.MOST", 2)
    path = write(tmp_path / "log.jsonl", [row(str(i), DAYS[i]) for i in range(5)])
    assert read_window(path).texts == ("3", "4")


@pytest.mark.parametrize("end", [1, 5, 13, 30])
def test_a_line_that_is_being_written_waits_for_the_next_look(end: int, tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", [row("a", DAYS[1])])
    line = json.dumps(row("größe", DAYS[2]), ensure_ascii=False).encode()
    whole = path.read_bytes()
    path.write_bytes(whole + line[:end])
    assert read_window(path).texts == ("a",)
    path.write_bytes(whole + line)
    assert read_window(path).texts == ("a", "größe")


def test_another_file_is_refused_by_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", [row("a", DAYS[1])])
    with path.open("a", encoding="utf-8") as file:
        file.write('{"text": "b"}\n')
    with pytest.raises(InputError, match=r"log\.jsonl, line 2: not a line of a prediction log"):
        read_window(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_window(tmp_path / "missing.jsonl")


def test_lines_of_the_future_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [row("a", DAYS[2]), row("b", "2999-01-01"), row("c", DAYS[1]), row("d", "2999-01-01T00:00:00Z")]
    path = write(tmp_path / "log.jsonl", rows)
    assert read_window(path) == Window(("a", "c"), DAYS[1], DAYS[2])
    assert "2 lines have a time in the future and are left out, the first is line 2" in caplog.text


def test_times_of_other_zones_are_compared_as_times(tmp_path: Path) -> None:
    path = write(
        tmp_path / "log.jsonl", [row("a", "2026-01-01T09:00:00-05:00"), row("b", "2026-01-01T12:00")]
    )
    assert read_window(path, after="2026-01-01T13:00:00+00:00").texts == ("a",)


@pytest.mark.parametrize("time", ["x", "", "yesterday", "1"])
def test_a_time_that_is_no_date_is_refused(time: str, tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", [row("a", DAYS[1]), row("b", time)])
    with pytest.raises(InputError, match=rf"line 2: time is '{time}'; give a date"):
        read_window(path)
