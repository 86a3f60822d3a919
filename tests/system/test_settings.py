"""--set on the command line: it waits for a run under way, and what turns out wrong is taken
back.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import BIN, Start, wait_for
from tokensieve.settings import Settings


@pytest.fixture
def served(data_file: Path) -> Iterator[str]:
    """The address of a server that has the data."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(data_file.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


@pytest.mark.timeout(1200)
def test_settings_wait_for_the_run_under_way_and_are_taken_back_if_they_are_wrong(
    start: Start,
    tokensieve: Callable[..., Any],
    small: list[str],
    served: str,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    project = tmp_path / "project"
    params = project / "params.yaml"
    address = served.replace("http://", "http://user:secret@") + "/texts.csv?token=hidden"
    first = start(
        "first", str(BIN / "tokensieve"), "run", "--project", str(project), "--data", address, *small
    )
    wait_for(
        lambda: "validate   ..." in first.text() or first.popen.poll() is not None, 300, "the first stage"
    )

    # The first one is stopped until the second one waits for it: it may be the faster one.
    first.popen.send_signal(signal.SIGSTOP)
    second = start(
        "second", str(BIN / "tokensieve"), "run", "--project", str(project), "--set", "mask.budget=0.2"
    )
    waiting = "waiting for another run of this project"
    wait_for(lambda: waiting in second.text() or second.popen.poll() is not None, 300, "the second run")
    first.popen.send_signal(signal.SIGCONT)

    assert first.popen.wait(300) == 0, first.text()
    assert second.popen.wait(300) == 0, second.text()
    assert waiting in second.text()
    assert Settings.load(params).mask.budget == 0.2

    before = params.read_text()
    wrong = tokensieve(
        "run", "--project", str(project), "--set", "base.model=nosuch", "finetune.max_epochs=3"
    )
    assert wrong.returncode == 2, wrong.stderr
    assert "finetune.max_epochs is 2 again, because this command failed" in wrong.stderr
    again = f"type: tokensieve run --project {project} --set base.model=nosuch finetune.max_epochs=3\n"
    assert again in wrong.stderr
    assert params.read_text() == before
    assert tokensieve("run", "--project", str(project)).returncode == 0

    # Nor does any file, Prefect's database among them, hold the secrets of the data's address.
    files = [
        path
        for folder in (project, Path(environment["HOME"]))
        for path in folder.rglob("*")
        if path.is_file()
    ]
    assert any(path.name == "prefect.db" for path in files)
    told = [
        path
        for path in files
        if b"token=hidden" in (content := path.read_bytes()) or b"user:secret" in content
    ]
    assert told == []
