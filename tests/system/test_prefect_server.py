"""The server that the command line uses: a configured one that does not answer, and temporary ones of two first runs at once."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.conftest import BIN, Process, Start, free_port, wait_for

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.timeout(180)
def test_a_configured_server_that_does_not_answer_is_named(
    tokensieve: Run, start: Start, environment: dict[str, str], small: list[str], data_file: Path, tmp_path: Path
) -> None:
    dead = f"http://127.0.0.1:{free_port()}/api"
    command = ["run", "--project", str(tmp_path / "project"), "--data", str(data_file), *small]

    def refusal(**variables: str) -> str:
        done = tokensieve(*command, **variables)
        assert done.returncode == 2, done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("tokensieve:")]
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        return line

    line = refusal(PREFECT_API_URL=dead)
    assert f"PREFECT_API_URL is '{dead}', where no Prefect server answers" in line
    assert "unset it" in line

    # A profile, as `prefect config set` writes it.
    profiles = Path(environment["PREFECT_HOME"]) / "profiles.toml"
    profiles.parent.mkdir(exist_ok=True)
    profiles.write_text(f'active = "work"\n[profiles.work]\nPREFECT_API_URL = "{dead}"\n', encoding="utf-8")
    line = refusal()
    assert f"Prefect's profile 'work' ({profiles}) sets PREFECT_API_URL to '{dead}', where no Prefect server answers" in line
    assert "prefect profile use ephemeral" in line

    # Something else answers there.
    port = free_port()
    start("other", str(BIN / "python"), "-m", "http.server", str(port), "--bind", "127.0.0.1", url=f"http://127.0.0.1:{port}/")
    assert f"PREFECT_API_URL is 'http://127.0.0.1:{port}/api', which is not Prefect's API" in refusal(
        PREFECT_API_URL=f"http://127.0.0.1:{port}/api"
    )


@pytest.mark.timeout(600)
def test_two_first_runs_at_once_both_complete(
    start: Start, environment: dict[str, str], small: list[str], data_file: Path, tmp_path: Path
) -> None:
    assert not Path(environment["PREFECT_HOME"]).exists()
    command = [str(BIN / "tokensieve"), "run", "--data", str(data_file), *small, "--project"]
    runs: list[Process] = [start(name, *command, str(tmp_path / name)) for name in ("one", "two")]
    wait_for(lambda: all(run.popen.poll() is not None for run in runs), 500, "both runs")
    assert [run.popen.returncode for run in runs] == [0, 0], "\n\n".join(run.text() for run in runs)
