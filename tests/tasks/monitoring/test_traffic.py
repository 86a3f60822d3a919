"""Windows of traffic from the server's log of texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.monitoring.traffic import Window, read_window
from tokensieve.errors import InputError


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
        tmp_path / "log.jsonl", [row("a", "1", task="x"), row("a", "1", task="y"), row("b", "2", task="x")]
    )
    assert read_window(path, task="x").texts == ("a", "b")


def test_a_window_ends_with_the_last_texts_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.monitoring.traffic.MOST", 2)
    path = write(tmp_path / "log.jsonl", [row(str(i), str(i)) for i in range(5)])
    assert read_window(path).texts == ("3", "4")


def test_another_file_is_refused_by_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", [row("a", "1")])
    with path.open("a", encoding="utf-8") as file:
        file.write('{"text": "b"}\n')
    with pytest.raises(InputError, match=r"log\.jsonl, line 2: not a line of a prediction log"):
        read_window(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_window(tmp_path / "missing.jsonl")
