"""Tasks for the tiny model: one with five classes of eight training and four test texts, and a
multi-label one.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks.training.experiment import Setup


def write_task(
    folder: Path, rows: dict[str, list[tuple[str, ...]]], header: tuple[str, ...] = ("text", "label")
) -> None:
    """Write a task folder: rows under `header` by file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, found in rows.items():
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *found])


@pytest.fixture
def setup(
    tmp_path: Path, tiny_texts: tuple[list[str], list[str]], tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> Setup:
    """The tasks `tiny` and `several` and the tiny model."""
    rows = list(zip(*tiny_texts, strict=True))
    tests = [i for i in range(len(rows)) if i % 12 >= 8]
    trained = [row for i, row in enumerate(rows) if i not in tests]
    write_task(tmp_path / "data" / "tiny", {"train.csv": trained, "test.csv": [rows[i] for i in tests]})
    # Three of the twelve texts of a class stand in the last of four folds. What asks has a second
    # label; refunds have none of their own.
    folded = [
        (
            str(i % 4),
            text,
            "|".join(sorted({label} - {"refund"} | ({"question"} if text.endswith("?") else set()))),
        )
        for i, (text, label) in enumerate(rows)
    ]
    write_task(
        tmp_path / "data" / "several",
        {"a.csv": folded[:30], "b.csv": folded[30:]},
        ("fold", "text", "labels"),
    )
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    return Setup(tmp_path / "data", str(tiny_model))
