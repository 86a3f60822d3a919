"""A sweep as a user runs it: on Dask and in processes, with kill -9 and Ctrl-C in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.conftest import BIN, Process, Start, free_port, in_group, wait_for
from tokensieve.files import read_json
from tokensieve.project import Layout

GRID = ("--grid", "mask.budget=0.1,0.5", "--folds", "3")
SENTENCE = "tokensieve: interrupted; the same command goes on where it stopped\n"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(tokensieve: Run, tiny_model: Path, data_file: Path, tmp_path: Path) -> Layout:
    """A project whose cells take some seconds."""
    settings = ["finetune.max_epochs=40", "finetune.max_steps=100000", "finetune.patience=1000"]
    settings += ["schedule.frozen_layers=0.5", "base.max_length=32", f"base.model={tiny_model}"]
    made = tokensieve("init", str(tmp_path / "project"), "--data", str(data_file), "--set", *settings)
    assert made.returncode == 0, made.stderr
    return Layout(tmp_path / "project")


def finished(layout: Layout) -> dict[str, dict[str, float]]:
    """Return the figures of the finished cells by their key."""
    return {path.stem: read_json(path)["figures"] for path in layout.sweep.glob("cells/*.json")}


@pytest.mark.timeout(900)
def test_dask_gives_the_results_of_processes_and_loses_nothing_with_a_worker(
    project: Layout, tokensieve: Run, start: Start, start_prefect: Callable[..., Process]
) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    dask = str(BIN / "dask")
    scheduler = start("scheduler", dask, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")
    wait_for(lambda: "Scheduler at" in scheduler.text(), 120, "Dask's scheduler")
    workers = [
        start(f"worker{i}", dask, "worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny")
        for i in range(2)
    ]
    wait_for(lambda: all("Registered to" in worker.text() for worker in workers), 120, "Dask's workers")

    refused = tokensieve("sweep", "--project", str(project.root), "--dask", address)
    assert refused.returncode == 2
    assert "--dask needs a Prefect server that all workers reach, and none is configured" in refused.stderr

    start_prefect()
    command = ["sweep", "--project", str(project.root), *GRID, "--seeds", "0-1", "--dask", address, "--json"]
    running = start("sweep", str(BIN / "tokensieve"), *command)
    wait_for(lambda: finished(project) or running.popen.poll() is not None, 300, "the first cell")
    workers[0].kill()
    wait_for(lambda: running.popen.poll() is not None, 400, "the sweep")
    assert running.popen.returncode == 0, running.text()
    on_dask = finished(project)
    assert len(on_dask) == 12

    for path in project.sweep.glob("cells/*.json"):
        path.unlink()
    command = ["sweep", "--project", str(project.root), *GRID, "--seeds", "0-1", "--workers", "2", "--json"]
    again = tokensieve(*command)
    assert again.returncode == 0, again.stderr
    assert finished(project) == on_dask
    best = json.loads(running.text().splitlines()[-1])["rows"][0]
    assert json.loads(again.stdout)["rows"][0]["figures"] == best["figures"]


@pytest.mark.timeout(900)
def test_a_sweep_goes_on_after_ctrl_c_and_after_kill(project: Layout, tokensieve: Run, start: Start) -> None:
    # Twelve cells: on a fast machine some are finished between the look and the signal.
    command = ["sweep", "--project", str(project.root), *GRID, "--seeds", "0-1", "--workers", "2"]

    interrupted = start("interrupted", str(BIN / "tokensieve"), *command)
    wait_for(lambda: finished(project) or interrupted.popen.poll() is not None, 300, "the first cell")
    os.killpg(interrupted.popen.pid, signal.SIGINT)  # as a terminal does
    assert interrupted.popen.wait(60) == 130
    wait_for(lambda: not in_group(interrupted.popen.pid), 60, "the end of the workers")
    assert interrupted.text().endswith(SENTENCE)
    assert interrupted.text().count("interrupted") == 1
    assert "Traceback" not in interrupted.text() and "Warning" not in interrupted.text()
    first = finished(project)
    assert 0 < len(first) < 12

    killed = start("killed", str(BIN / "tokensieve"), *command)
    wait_for(
        lambda: len(finished(project)) > len(first) or killed.popen.poll() is not None, 300, "another cell"
    )
    os.kill(killed.popen.pid, signal.SIGKILL)  # of the command alone: its workers notice
    wait_for(lambda: not in_group(killed.popen.pid), 60, "the end of the workers")
    second = finished(project)
    assert first.items() < second.items()

    whole = tokensieve(*command)
    assert whole.returncode == 0, whole.stderr
    assert f"{len(second)} of 12 cells are finished already" in whole.stderr
    third = finished(project)
    assert second.items() <= third.items() and len(third) == 12
    assert "2 combinations x 2 seeds x 3 folds = 12 cells, on 40 training texts" in whole.stdout
