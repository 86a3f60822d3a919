"""Drift of a project's traffic: windows one after the other, and what is kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tasks.monitoring.drift import look_for_drift
from tokensieve.data.examples import Examples
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.settings import Settings

KNOWN = ["my card is lost", "send money", "send my card", "is my card lost", "send money to my card"]
OTHER = ["zebra", "unheard words of another subject", "zebra words", "nothing my dear zebra", "unheard"]


@pytest.fixture
def project(tmp_path: Path, served_folder: Path) -> Layout:
    """A project with an exported model and held-out texts, without a registry."""
    layout = Layout(tmp_path / "project")
    shutil.copytree(served_folder, layout.onnx)
    layout.split.mkdir(parents=True)
    Examples.of(KNOWN * 20, ["other"] * 100).save(layout.split / "test.jsonl")
    return layout


def answered(log: Path, texts: list[str], day: int) -> None:
    with log.open("a", encoding="utf-8") as file:
        for i, text in enumerate(texts):
            file.write(
                json.dumps({"text": text, "time": f"2026-01-{day:02}T00:{i // 60:02}:{i % 60:02}"}) + "\n"
            )


def test_traffic_like_the_held_out_texts_is_no_drift(project: Layout, tmp_path: Path) -> None:
    answered(tmp_path / "log", KNOWN * 12, 1)
    report = look_for_drift(project, Settings(), tmp_path / "log", 50)
    assert not report.differs
    assert report.found is not None
    assert (report.found.texts, report.found.reference_texts) == (60, 100)


def test_two_windows_of_other_texts_are_an_alarm_and_say_why(project: Layout, tmp_path: Path) -> None:
    reports = []
    for day in (1, 2):
        answered(tmp_path / "log", OTHER * 12, day)
        reports.append(look_for_drift(project, Settings(), tmp_path / "log", 50))
    assert [report.differs for report in reports] == [True, True]
    assert [report.alarm for report in reports] == [False, True]
    words = {word: shares for word, *shares in reports[1].words}
    assert words["zebra"] == [0.6, 0.0]
    assert set(reports[1].unlike) == set(OTHER)
    assert sum(share for _, share, _ in reports[1].labels) == pytest.approx(1)


def test_a_window_of_a_new_champion_starts_anew(project: Layout, tmp_path: Path) -> None:
    answered(tmp_path / "log", OTHER * 12, 1)
    look_for_drift(project, Settings(), tmp_path / "log", 50)
    windows = json.loads((project.drift / "windows.json").read_text())
    windows[0]["model"] = "7"
    (project.drift / "windows.json").write_text(json.dumps(windows))
    answered(tmp_path / "log", OTHER * 12, 2)
    assert not look_for_drift(project, Settings(), tmp_path / "log", 50).alarm


def test_few_texts_wait_for_the_next_look(project: Layout, tmp_path: Path) -> None:
    answered(tmp_path / "log", KNOWN * 6, 1)
    report = look_for_drift(project, Settings(), tmp_path / "log", 50)
    assert (report.waiting, report.found) == (30, None)
    answered(tmp_path / "log", KNOWN * 6, 2)
    report = look_for_drift(project, Settings(), tmp_path / "log", 50)
    assert report.found is not None
    assert report.found.texts == 60


def test_a_project_without_a_model_waits_for_its_first_texts(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    report = look_for_drift(Layout(tmp_path), Settings(), tmp_path / "log", 50)
    assert (report.model, report.waiting, report.found) == (tmp_path.name, 0, None)


def test_the_kept_report_has_the_result_and_the_gauges(project: Layout, tmp_path: Path) -> None:
    answered(tmp_path / "log", OTHER * 12, 1)
    report = look_for_drift(project, Settings(), tmp_path / "log", 50)
    kept = json.loads((project.drift / "report.json").read_text(encoding="utf-8"))
    assert kept["differs"] is True
    assert report.found is not None
    assert {test["name"]: test["differs"] for test in kept["found"]["tests"]} == {
        test.name: test.differs for test in report.found.tests
    }
    lines = (project.drift / "drift.prom").read_text().splitlines()
    assert "tokensieve_drift_alarm 0" in lines
    assert any(line.startswith('tokensieve_drift_p{test="fragmented"} ') for line in lines)


def test_without_held_out_texts_or_a_model_the_remedy_is_named(project: Layout, tmp_path: Path) -> None:
    answered(tmp_path / "log", KNOWN * 12, 1)
    (project.split / "test.jsonl").unlink()
    with pytest.raises(InputError, match=r"0 held-out texts .* run tokensieve run first"):
        look_for_drift(project, Settings(), tmp_path / "log", 50)
    shutil.rmtree(project.onnx)
    with pytest.raises(
        InputError, match="neither a champion nor an exported model; run tokensieve run first"
    ):
        look_for_drift(project, Settings(), tmp_path / "log", 50)
