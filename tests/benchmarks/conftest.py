"""A task of five classes on the tiny model: eight training texts a class, four for testing."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks.cell import Setup


def write_task(folder: Path, rows: dict[str, list[tuple[str, str]]], header: tuple[str, str] = ("text", "label")) -> None:
    """Write a task folder: rows of (text, label) by file."""
    folder.mkdir(parents=True)
    for name, found in rows.items():
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *found])


@pytest.fixture
def setup(tmp_path: Path, tiny_texts: tuple[list[str], list[str]], tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    """The task `tiny` and the tiny model."""
    rows = list(zip(*tiny_texts, strict=True))
    tests = [i for i in range(len(rows)) if i % 12 >= 8]
    trained = [row for i, row in enumerate(rows) if i not in tests]
    write_task(tmp_path / "data" / "tiny", {"train.csv": trained, "test.csv": [rows[i] for i in tests]})
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    return Setup(tmp_path / "data", str(tiny_model))
