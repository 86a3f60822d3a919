"""What people find of a run in Prefect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import prefect_page
from flows.prefect_page import MAX_PICTURE, final_message, show_run
from tests.flows.test_run_page import RESULT
from tokensieve.project import Layout

Artifacts = dict[str, dict[str, Any]]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Artifacts:
    """The artifacts that are made, by key."""
    artifacts: Artifacts = {}

    def make(key: str, **values: Any) -> None:
        artifacts[key] = values

    for name in ("create_markdown_artifact", "create_image_artifact"):
        monkeypatch.setattr(prefect_page, name, make)
    return artifacts


@pytest.fixture
def picture(tmp_path: Path) -> Callable[[int], Layout]:
    """Writes a picture of so many bytes into a project."""

    def write(size: int) -> Layout:
        layout = Layout(tmp_path)
        layout.evaluation.mkdir(parents=True)
        (layout.evaluation / "confusion.png").write_bytes(b"x" * size)
        return layout

    return write


def test_a_run_has_a_summary_and_a_picture(made: Artifacts, picture: Callable[[int], Layout]) -> None:
    show_run(RESULT, picture(3), "https://mlflow.example", is_new=True)
    assert made["retrain-summary"]["description"] == "claims_v2: v3 0.931"
    assert made["retrain-picture"] == {
        "image_url": "data:image/png;base64,eHh4",
        "description": "claims_v2: v3 0.931: confusions",
    }


@pytest.mark.parametrize(("size", "is_new"), [(MAX_PICTURE + 1, True), (3, False)])
def test_prefects_database_does_not_grow_with_large_or_known_pictures(
    made: Artifacts, picture: Callable[[int], Layout], size: int, is_new: bool
) -> None:
    show_run(RESULT, picture(size), "", is_new)
    assert list(made) == ["retrain-summary"]


def test_a_picture_that_is_missing_is_left_out(made: Artifacts, tmp_path: Path) -> None:
    show_run(RESULT, Layout(tmp_path), "", is_new=True)
    assert list(made) == ["retrain-summary"]
    show_run(RESULT, Layout(tmp_path), "", is_new=False)
    assert made["retrain-summary"]["description"] == "claims_v2: unchanged, v3 0.931"


def test_a_page_that_cannot_be_written_does_not_fail_a_run_that_has_registered_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_: Any) -> None:
        raise ConnectionError("no answer")

    monkeypatch.setattr(prefect_page, "create_markdown_artifact", fail)
    show_run(RESULT, Layout(tmp_path), "", is_new=True)
    assert "the page of the run in Prefect is incomplete (no answer)" in caplog.text


def test_the_message_has_the_verdict() -> None:
    judged = RESULT | {"verdict": {"sentence": "good enough: promote it."}}
    assert final_message(judged, True) == "Version 3 of claims_v2: Good enough: promote it."
    promoted = final_message(judged | {"promoted": {"version": "3"}}, True)
    assert promoted == "Version 3 of claims_v2, now the champion: Good enough: promote it."
    assert final_message(RESULT, True) == "Version 3 of claims_v2"
    assert final_message(judged, False) == "Nothing new: version 3 of claims_v2 is current."
