"""The flow that watches the data, on a Prefect server."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows import failure
from flows.events import RunFailed
from flows.watch import watch
from tasks.projects.last_look import last_look
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.settings import Settings, render


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A project without data."""
    layout = Layout(tmp_path / "project")
    layout.root.mkdir()
    layout.params.write_text(render(Settings()), encoding="utf-8")
    return layout


@pytest.mark.usefixtures("prefect_server")
def test_each_look_is_noted_and_a_failure_is_announced_once(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client

    announced: list[RunFailed] = []
    reached = ("prefect",)

    def announce(_: Layout, event: RunFailed, received: Collection[str]) -> tuple[str, ...]:
        if set(reached) - set(received):
            announced.append(event)
        return reached

    monkeypatch.setattr(failure, "announce", announce)
    monkeypatch.setattr(failure, "deployment", SimpleNamespace(id="a deployment"))
    data = tmp_path / "mails.csv"

    def reason() -> str:
        with pytest.raises(InputError) as raised:
            watch(layout.root, str(data))
        noted = last_look(layout, "watch")
        assert noted and noted.reason == str(raised.value)
        return noted.reason

    assert reason() == f"{data} does not exist; use a file, a folder or a URL"
    assert len(announced) == 1
    reached = ("prefect", "webhook")
    assert reason() == reason()
    _, event = announced  # the webhook had not received the first one
    assert (event.stage, event.reason, event.run) == ("", reason(), f"watch {layout.root}")
    with get_client(sync_client=True) as client:
        page = next(found for found in client.read_latest_artifacts() if found.key == "run-failed")
    assert page.data.startswith("# Failed\n\n**Reason:** ")

    data.write_text("text,label\n")
    watch(layout.root, str(data))
    noted = last_look(layout, "watch")
    assert noted and (noted.result, noted.reason) == (f"{data} has changed.", "")
    data.unlink()
    reason()
    assert len(announced) == 3  # it worked in between


@pytest.mark.usefixtures("prefect_server")
def test_a_folder_that_is_no_project_gets_no_note(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        watch(tmp_path / "typo", str(tmp_path / "mails.csv"))
    assert not (tmp_path / "typo").exists()
