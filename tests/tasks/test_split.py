from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.split import split
from tokensieve.files import read_json
from tokensieve.project import Layout
from tokensieve.settings import Settings

ROWS = [(f"{label} {i}", label) for label in ("card", "transfer") for i in range(30)]


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Layout]:
    """Writes the parts given, each as rows of text and label."""

    def write(**parts: list[tuple[str, str | None]]) -> Layout:
        layout = Layout(tmp_path)
        layout.raw.mkdir(parents=True, exist_ok=True)
        for part, rows in parts.items():
            lines = [json.dumps({"text": text, "label": label}) + "\n" for text, label in rows]
            (layout.raw / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
        return layout

    return write


def test_rows_without_a_label_are_in_no_part_and_no_class(project: Callable[..., Layout]) -> None:
    layout = project(
        train=[*ROWS, *((f"none {i}", None) for i in range(9))], test=[("a card", "card"), ("what", "")]
    )
    split(layout, Settings.of({"data": {"unlabelled": "drop"}}))
    assert read_json(layout.split / "labels.json") == ["card", "transfer"]
    report = read_json(layout.split / "report.json")
    assert (report["train"] + report["validation"], report["test"]) == (60, 1)


def test_an_earlier_project_logs_once_that_its_split_changes(
    project: Callable[..., Layout], caplog: pytest.LogCaptureFixture
) -> None:
    layout = project(train=ROWS)
    with caplog.at_level(logging.WARNING, "tokensieve"):
        split(layout, Settings())
        assert caplog.messages == []
        report = read_json(layout.split / "report.json")
        del report["dealt_by"]
        (layout.split / "report.json").write_text(json.dumps(report), encoding="utf-8")
        split(layout, Settings())
        split(layout, Settings())
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("The split changes this time")


def test_given_parts_do_not_change(project: Callable[..., Layout], caplog: pytest.LogCaptureFixture) -> None:
    layout = project(train=ROWS, validation=ROWS[:1], test=ROWS[30:31])
    layout.split.mkdir(parents=True)
    (layout.split / "report.json").write_text("{}", encoding="utf-8")
    split(layout, Settings())
    assert caplog.messages == []


def test_labels_are_merged_and_rare_classes_dropped_before_the_split(project: Callable[..., Layout]) -> None:
    rows = [*ROWS, *((f"more {i}", "Card") for i in range(5)), *((f"rare {i}", "fee") for i in range(7))]
    layout = project(train=rows, test=[("a card", "CARD"), ("a fee", "fee")])
    split(layout, Settings.of({"data": {"normalize_labels": True, "rare": "drop"}}))
    assert read_json(layout.split / "labels.json") == ["card", "transfer"]
    report = read_json(layout.split / "report.json")
    assert (report["train"] + report["validation"], report["test"]) == (65, 1)
