"""The flow that looks for drift, on a Prefect server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from flows.monitor import monitor
from tasks.projects.last_look import last_look
from tokensieve.data.examples import Examples
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.settings import Settings, render


@pytest.mark.usefixtures("prefect_server")
def test_the_page_of_a_run_has_the_result_and_no_text(tmp_path: Path, served_folder: Path) -> None:
    layout = Layout(tmp_path / "project")
    shutil.copytree(served_folder, layout.onnx)
    layout.params.write_text(render(Settings()), encoding="utf-8")
    layout.split.mkdir(parents=True)
    Examples.of(["my card is lost", "send money"] * 50, ["other"] * 100).save(layout.split / "test.jsonl")
    lines = [json.dumps({"text": "zebra crossing", "time": f"2026-01-01T00:00:{i:02}"}) for i in range(60)]
    (tmp_path / "log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert monitor(layout.root, tmp_path / "log", 50) == {"alarm": False, "differs": True, "waiting": 0}
    with get_client(sync_client=True) as client:
        page = next(known for known in client.read_latest_artifacts() if known.key == "drift")
    assert "This is hardly chance, but may pass" in page.data
    assert "zebra" not in page.data
    noted = last_look(layout, "monitor")
    assert noted and "This is hardly chance" in noted.result

    with pytest.raises(InputError):
        monitor(layout.root, tmp_path / "typo", 50)
    noted = last_look(layout, "monitor")
    assert noted and "typo" in noted.reason


@pytest.mark.usefixtures("prefect_server")
def test_a_folder_that_is_no_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not a project .*; set the parameter project"):
        monitor(tmp_path, tmp_path / "log")
    with get_client(sync_client=True) as client:
        page = next(known for known in client.read_latest_artifacts() if known.key == "run-failed")
    assert "is not a project" in page.data
    assert not list(tmp_path.iterdir())
