"""The command sweep as a whole, on a tiny project: Prefect, worker processes, MLflow."""

from __future__ import annotations

import json
import multiprocessing
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tokensieve.project import Layout

# Each sweep starts worker processes, which takes minutes on a busy machine.
pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

SETTINGS = ("finetune.max_epochs=2", "schedule.frozen_layers=0.5", "base.max_length=32")


@pytest.fixture
def project(tmp_path: Path, tiny_model: Path, data_file: Path) -> Path:
    """A project with data and settings that train in a moment."""
    from tokensieve.cli.main import main

    folder = tmp_path / "project"
    small = [*SETTINGS, f"base.model={tiny_model}"]
    assert main(["init", str(folder), "--data", str(data_file), "--set", *small]) == 0
    return folder


@pytest.fixture
def sweep(
    project: Path, prefect_server: None, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run the command; returns the exit status, its output and its errors."""
    from tokensieve.cli.main import main

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        workers = [] if {"--dask", "--workers"} & set(arguments) else ["--workers", "1"]
        status = main(["sweep", "--project", str(project), "--folds", "3", *workers, *arguments])
        return status, *capfd.readouterr()

    return run


def test_settings_are_ranked_and_finished_cells_are_not_run_again(
    sweep: Callable[..., tuple[int, str, str]], project: Path
) -> None:
    layout = Layout(project)
    status, output, errors = sweep("--grid", "mask.budget=0.1,0.5", "--json")
    assert status == 0, errors
    result = json.loads(output)

    assert (result["metric"], result["folds"], result["seeds"], result["cells"]) == ("accuracy", 3, [0], 6)
    assert {tuple(row["settings"]): row["is_present"] for row in result["rows"]} == {
        ("mask.budget=0.1",): True,
        ("mask.budget=0.5",): False,
    }
    assert re.search(r"sweep      6 of 6 cells, [0-9.]+ per minute\n", errors)
    files = {path.name: path.stat().st_mtime_ns for path in layout.sweep.glob("cells/*.json")}
    assert len(files) == 6
    assert not layout.model.exists()

    # Two of them are known, in another sweep.
    status, output, errors = sweep("--grid", "mask.budget=0.1")
    assert status == 0, errors
    assert "3 of 3 cells are finished already" in errors
    assert "1 combination x 1 seed x 3 folds = 3 cells, on 40 training texts" in output
    assert {path.name: path.stat().st_mtime_ns for path in layout.sweep.glob("cells/*.json")} == files


def test_a_search_ranks_what_optuna_proposes(sweep: Callable[..., tuple[int, str, str]]) -> None:
    grid = ["--grid", "finetune.learning_rate=1e-4..1e-2", "--trials", "2", "--metric", "macro_f1"]
    status, output, errors = sweep(*grid, "--json")
    assert status == 0, errors
    result = json.loads(output)
    assert ["finetune.learning_rate=0.001"] in [row["settings"] for row in result["rows"]]
    assert result["metric"] == "macro_f1"
    assert len(result["rows"]) == 2

    status, output, errors = sweep(*grid, "--json")
    assert json.loads(output) == result
    assert "6 of 6 cells are finished already" in errors


def test_the_cells_of_a_killed_worker_are_run_again(
    sweep: Callable[..., tuple[int, str, str]], project: Path
) -> None:
    cells, killed = Layout(project).sweep / "cells", []
    earlier = set(multiprocessing.active_children())

    def own_workers() -> set[multiprocessing.process.BaseProcess]:
        return set(multiprocessing.active_children()) - earlier

    def kill() -> None:
        end = time.monotonic() + 200
        while not killed and time.monotonic() < end:
            time.sleep(0.01)
            if list(cells.glob("*.json")) and (workers := own_workers()):
                worker = workers.pop()
                worker.kill()
                killed.append(worker.pid)

    thread = threading.Thread(target=kill)
    thread.start()
    status, output, errors = sweep("--seeds", "0-3", "--workers", "2", "--json")
    thread.join()

    assert status == 0, errors
    assert killed
    assert "a worker was lost; its cells are run again" in errors
    assert len(list(cells.glob("*.json"))) == json.loads(output)["cells"] == 12
    assert not own_workers()


def test_a_failing_cell_ends_the_sweep_with_its_message(
    sweep: Callable[..., tuple[int, str, str]],
) -> None:
    status, output, errors = sweep("--grid", "base.model=/nowhere,/nowhere/else")
    assert (status, output) == (2, "")
    assert "/nowhere" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid", "mask.budget=2"], "--grid: mask.budget is 2 (allowed: 0.0001 to 1.0)"),
        (["--seeds", "x"], "--seeds is 'x'; use numbers and ranges, for example 0-4 or 0,3,7"),
        (["--trials", "3"], "--trials needs --grid with what to search"),
        (["--folds", "1"], "--folds is 1; use at least 2"),
        (["--grid", "mask.budget=0.1..0.2"], "is a range; list its values, or search it with --trials N"),
        (["--dask", "tcp://127.0.0.1:1", "--workers", "2"], "use one"),
    ],
)
def test_wrong_options_are_refused_before_prefect_starts(
    sweep: Callable[..., tuple[int, str, str]], arguments: list[str], message: str, project: Path
) -> None:
    status, output, errors = sweep(*arguments)
    assert (status, output) == (2, "")
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert not Layout(project).sweep.exists()


def test_dask_needs_a_prefect_server_that_workers_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.sweep_cells import check_dask
    from tokensieve.errors import InputError

    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(InputError, match=r"--dask needs a Prefect server .* set PREFECT_API_URL"),
    ):
        check_dask()


def test_progress_has_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import sweep_cells

    now, lines = [1000.0], []
    # Not time.monotonic itself, by which Prefect's threads of this process go.
    monkeypatch.setattr(sweep_cells, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(sweep_cells.log, "info", lambda line, *values: lines.append(line % values))
    progress = sweep_cells.Progress(10)
    progress.skip(2)
    for _ in range(8):
        progress.advance()
        now[0] += 6
    assert lines == [
        "sweep      2 of 10 cells are finished already",
        "sweep      3 of 10 cells",
        "sweep      5 of 10 cells, 10.0 per minute, 30 s left",
        "sweep      7 of 10 cells, 10.0 per minute, 18 s left",
        "sweep      9 of 10 cells, 10.0 per minute, 6 s left",
        "sweep      10 of 10 cells, 10.0 per minute",
    ]
