"""One Prefect server for all tests of flows, and a project small enough to run in seconds."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """Prefect's own server on a database of its own."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def several_file(tmp_path: Path, tiny_texts: tuple[list[str], list[str]]) -> Path:
    """The tiny texts with the label of their class, `please` and `question` beside it where they
    stand in the text, and texts without a label.
    """
    path = tmp_path / "several.csv"
    marks = {"please": "please", "question": "?"}
    rows = [
        ("text", "label"),
        *((text, "") for text in ("hello", "good morning", "thank you", "bye for now", "well", "fine then")),
    ]
    for text, label in zip(*tiny_texts, strict=True):
        rows.append((text, "; ".join([label, *(name for name, mark in marks.items() if mark in text)])))
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture
def tiny_run(tiny_model: Path, prefect_server: None) -> Callable[..., int]:
    """Calls `tokensieve run` on a project with settings that take a moment; returns the exit
    status.
    """
    from tokensieve.cli.main import main

    def run(project: Path, *arguments: str) -> int:
        # One build, or the tiny model's times would decide between equals.
        small = [
            "export.variants=[fused]",
            "finetune.max_epochs=2",
            "finetune.threads=1",
            "schedule.frozen_layers=0.5",
            f"base.model={tiny_model}",
            "base.max_length=32",
        ]
        return main(["run", "--project", str(project), *arguments, "--set", *small])

    return run
