"""A week of operation in a few minutes: two projects, one MLflow on PostgreSQL, one Prefect server,
schedules, and what goes wrong.

`make week` runs it and prints a table of trial and outcome. It is no test of `make test-system`,
since it takes too long. A day is one interval of the schedules. Every trial states what a person
who looks at the servers in the morning must find.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import yaml

from tests.system.conftest import free_port, wait_for

ROOT = Path(__file__).parents[2]
DAY = 45  # seconds between two scheduled runs of a project
RUN_SECONDS = 600.0  # a run may take so long while the machine is busy

Run = Callable[..., subprocess.CompletedProcess[str]]


@dataclass
class Week:
    """The projects and servers of the week, and its trials with their outcomes so far."""

    folder: Path
    environment: dict[str, str]
    tokensieve: Run
    rows: list[tuple[str, str, str]] = field(default_factory=list)

    def note(self, day: str, trial: str, outcome: str) -> None:
        """Add a row to the table and show it at once."""
        self.rows.append((day, trial, outcome))
        sys.stdout.write(f"| {day} | {trial} | {outcome} |\n")
        sys.stdout.flush()

    # What a person sees in the servers.

    def prefect(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return the answer of Prefect's API to a POST with `body`, or to a GET without."""
        return _json(f"{self.environment['PREFECT_API_URL']}{path}", body)

    def runs(self, project: str) -> list[dict[str, Any]]:
        """Return the scheduled runs of a project's deployment that are not in the future, oldest
        first.
        """
        deployment = self.prefect(f"/deployments/name/retrain/{project}")["id"]
        found = self.prefect(
            "/flow_runs/filter",
            {"flow_runs": {"deployment_id": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_ASC"},
        )
        return [run for run in found if run["state_type"] != "SCHEDULED"]

    def completed(self, project: str) -> int:
        """Return how many scheduled runs of a project have completed."""
        return sum(run["state_name"] == "Completed" and run["auto_scheduled"] for run in self.runs(project))

    def versions(self, model: str) -> dict[int, str]:
        """Return the status of every version of a registered model, by number."""
        search = f"api/2.0/mlflow/model-versions/search?filter=name%3D%27{model}%27"
        found = _json(f"{self.environment['MLFLOW_TRACKING_URI']}/{search}").get("model_versions", [])
        return {
            int(version["version"]): version["status"]
            for version in sorted(found, key=lambda version: int(version["version"]))
        }

    def state(self, run: str) -> str:
        """Return the type of a run's state, as COMPLETED."""
        return str(self.prefect(f"/flow_runs/{run}")["state_type"])

    def failed(self, project: str, known: set[str]) -> list[str]:
        """Return the ids of a project's runs that failed, less those `known`."""
        return [
            run["id"]
            for run in self.runs(project)
            if run["state_type"] == "FAILED" and run["id"] not in known
        ]

    def reason(self, run: str) -> str:
        """Return the message of a run's state."""
        return str(self.prefect(f"/flow_runs/{run}")["state"]["message"])

    def log(self, run: str) -> str:
        """Return the log of a run as its page shows it."""
        lines = self.prefect(
            "/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        )
        return "\n".join(line["message"] for line in lines)

    def delete(self, model: str, version: str) -> None:
        """Delete a registered version, as a person does in MLflow's page."""
        address = f"{self.environment['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/model-versions/delete"
        body = json.dumps({"name": model, "version": version}).encode()
        urllib.request.urlopen(
            urllib.request.Request(address, body, {"Content-Type": "application/json"}, method="DELETE"),
            timeout=30,
        )

    def aliases(self, model: str) -> dict[str, str]:
        """Return the version of each alias of a registered model."""
        address = (
            f"{self.environment['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/registered-models/get?name={model}"
        )
        return {
            alias["alias"]: str(alias["version"])
            for alias in _json(address)["registered_model"].get("aliases", [])
        }


def _json(address: str, body: Mapping[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


@pytest.fixture
def week(tmp_path: Path, environment: dict[str, str], tokensieve: Run) -> Iterator[Week]:
    """The week; its table is printed at the end, whatever happened."""
    played = Week(tmp_path, environment, tokensieve)
    yield played
    sys.stdout.write("\n| day | trial | outcome |\n|---|---|---|\n")
    sys.stdout.writelines(f"| {' | '.join(row)} |\n" for row in played.rows)


def deploy(week: Week, projects: Mapping[str, Path], data: Mapping[str, Path]) -> None:
    """Deploy the project's own deploy/prefect.yaml, a nightly retraining per project with a day of
    `DAY` seconds, and deploy/automations.yaml.
    """
    tree = yaml.safe_load((ROOT / "deploy" / "prefect.yaml").read_text(encoding="utf-8"))
    nightly = next(deployment for deployment in tree["deployments"] if deployment["name"] == "nightly")
    # In this week, a person promotes.
    kept = {key: value for key, value in nightly["parameters"].items() if key != "promote"}
    tree["deployments"] = [
        nightly
        | {
            "name": name,
            "schedules": [{"interval": DAY}],
            "parameters": kept | {"project": str(folder), "data": str(data[name])},
        }
        for name, folder in projects.items()
    ]
    path = week.folder / "prefect.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    for command in (
        ["prefect", "work-pool", "create", "tokensieve", "--type", "process"],
        ["prefect", "automation", "create", "--from-file", "deploy/automations.yaml"],
        ["prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(path)],
    ):
        subprocess.run(command, cwd=ROOT, env=week.environment, check=True, capture_output=True)


def answering(port: int) -> str:
    """Return the version that a server answers a text with; an empty text if it does not answer."""
    try:
        return str(_json(f"http://127.0.0.1:{port}/predict", {"text": "where is my parcel"})["version"])
    except OSError:
        return ""


@pytest.mark.timeout(7200)
def test_a_week(
    week: Week,
    start: Callable[..., Any],
    start_prefect: Callable[..., Any],
    start_mlflow: Callable[..., Any],
    postgres: Callable[[str], str],
    small: list[str],
    tiny_texts: tuple[list[str], list[str]],
    small_disk: Path,
) -> None:
    servers = _servers(week, start_prefect, start_mlflow, postgres)
    projects = {"tickets": week.folder / "tickets", "claims": small_disk / "claims"}
    data = {name: week.folder / f"{name}.csv" for name in projects}
    for name, folder in projects.items():
        _write(data[name], tiny_texts, 0)
        assert week.tokensieve("init", str(folder), *small).returncode == 0
    deploy(week, projects, data)
    worker = _worker(start)

    # Monday
    until(lambda: all(week.completed(name) for name in projects), "the first scheduled runs")
    assert [week.versions(name) for name in projects] == [{1: "READY"}] * 2
    assert [week.aliases(name) for name in projects] == [{"challenger": "1"}] * 2
    week.note(
        "Mon",
        "two new projects, their first scheduled runs",
        "both completed, version 1 each, alias challenger",
    )
    for name, folder in projects.items():
        promoted = week.tokensieve("promote", "--project", str(folder))
        assert promoted.returncode == 0, promoted.stderr
        assert week.aliases(name) == {"challenger": "1", "champion": "1"}
    port = free_port()
    folder = str(projects["tickets"])
    serving = [
        "serve",
        "--model",
        "models:/tickets@champion",
        "--project",
        folder,
        "--port",
        str(port),
        "--poll-interval",
        "1",
    ]
    server = start("serve", "tokensieve", *serving, url=f"http://127.0.0.1:{port}/ready")
    assert answering(port) == "1"
    week.note(
        "Mon",
        "promote both; serve the champion of the one",
        "champion 1 each; the server answers with version 1",
    )

    # Tuesday
    before = week.completed("claims")
    _write(data["tickets"], tiny_texts, 1)
    until(lambda: week.aliases("tickets")["challenger"] == "2", "a version from the grown data")
    until(lambda: week.completed("claims") > before + 1, "two more runs of the project whose data stay")
    assert list(week.versions("claims")) == [1]
    assert list(week.versions("tickets")) == [1, 2]
    week.note(
        "Tue",
        "the data of one project grow, the other's stay",
        "version 2 of the one; two runs of the other register nothing",
    )

    # Wednesday
    _write(data["tickets"], tiny_texts, 2)
    killed = _kill_in_a_run(week, worker)
    worker = _worker(start)
    until(lambda: week.aliases("tickets")["challenger"] == "3", "the run after the killed one")
    until(lambda: week.state(killed) == "CRASHED", "the killed run marked as crashed")
    week.note(
        "Wed",
        "kill -9 of the worker and its run; a new worker",
        "the next run registers version 3; the killed run is Crashed",
    )

    # Thursday
    servers["prefect"].stop()
    servers["prefect"] = start_prefect(servers["prefect_database"], port=_port(servers["prefect"].url))
    before = week.completed("claims")
    until(lambda: week.completed("claims") > before, "a scheduled run after the restart")
    week.note(
        "Thu", "Prefect's server ended and started again", "the worker goes on; scheduled runs complete"
    )
    servers["mlflow"].stop()
    _write(data["tickets"], tiny_texts, 3)
    known = {run["id"] for run in week.runs("tickets")}
    until(lambda: week.failed("tickets", known), "a run that fails without MLflow")
    message = week.reason(week.failed("tickets", known)[0])
    assert "MLflow at http://127.0.0.1" in message
    assert answering(port) == "1"
    servers["mlflow"] = start_mlflow(servers["mlflow_database"], port=_port(servers["mlflow"].url))
    until(lambda: week.aliases("tickets")["challenger"] == "4", "the run after MLflow is back")
    week.note(
        "Thu",
        "MLflow down during a run, then up",
        f"the run fails: {message[:90]}...; the server answers on; the next run registers version 4",
    )

    # Friday
    _write(data["claims"], tiny_texts, 4)
    known = {run["id"] for run in week.runs("claims")}
    filler = _fill(small_disk)
    until(lambda: week.failed("claims", known), "a run that fails on the full disk")
    message = week.reason(week.failed("claims", known)[0])
    filler.unlink()
    until(lambda: week.aliases("claims")["challenger"] == "2", "the run after space is freed")
    week.note(
        "Fri",
        "the disk of one project is full, then not",
        f"the run fails: {message[:90]}...; the next one registers version 2",
    )

    # Saturday. Models this small differ by chance, so the gate may refuse any of them.
    forced = ["--force", "--reason", "a drill"]
    steps: list[tuple[list[str], int, str]] = [
        (["promote"], 0, "4"),
        (["rollback"], 0, "1"),
        (["promote"], 1, "1"),  # refused: it was rolled back
        (["promote", "--version", "2", *forced], 0, "2"),
        (["promote", "--version", "3", *forced], 0, "3"),
    ]
    for arguments, status, champion in steps:
        done = week.tokensieve(arguments[0], "--project", folder, *arguments[1:])
        assert done.returncode == status, (arguments, done.stderr)
        assert week.aliases("tickets")["champion"] == champion
        until(
            lambda champion=champion: answering(port) == champion,
            f"the server to answer with version {champion}",
        )
        shown = f"exit {status}, champion {champion}"
        week.note(
            "Sat",
            " ".join(arguments),
            f"{shown}: {done.stderr.strip()}" if status else f"{shown}; so does the server",
        )
    week.delete("tickets", "2")
    done = week.tokensieve("rollback", "--project", folder)
    assert (done.returncode, week.aliases("tickets")["champion"]) == (0, "1"), done.stderr
    week.note("Sat", "version 2 deleted, then rollback", "champion 1: the last champion that exists")
    week.delete("tickets", "4")
    until(lambda: week.aliases("tickets").get("challenger") == "5", "the deleted challenger registered again")
    week.note(
        "Sat", "the challenger's version deleted", "the next run registers version 5 from the same data"
    )

    # Sunday
    before_runs = {name: week.completed(name) for name in projects}
    before_versions = {name: list(week.versions(name)) for name in projects}
    until(lambda: all(week.completed(name) > before_runs[name] + 1 for name in projects), "two quiet days")
    assert {name: list(week.versions(name)) for name in projects} == before_versions
    week.note("Sun", "nothing changes", "two runs per project complete and register nothing")

    def left() -> list[str]:
        """Return the runs that have not ended, less the last one of each project."""
        found = (run for name in projects for run in week.runs(name)[:-1])
        return [run["id"] for run in found if run["state_type"] in ("RUNNING", "PENDING")]

    # Runs that the killed worker had taken and not begun: an automation finds them in ten minutes.
    until(lambda: not left(), "the end of the runs that nobody works on")
    errors = {process.name: process.errors() for process in (servers["prefect"], servers["mlflow"], server)}
    assert errors == {"prefect": [], "mlflow": [], "serve": []}
    week.note(
        "Sun",
        "logs of Prefect, MLflow and the inference server",
        "no line of level ERROR; no run is left Running",
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB that can be filled."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid():
        pytest.skip("a small file system can be mounted by root only")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def until(holds: Callable[[], object], what: str) -> None:
    """Wait for what a run brings about. A server that is starting again may refuse meanwhile."""

    def tried() -> object:
        try:
            return holds()
        except (OSError, KeyError):
            return False

    wait_for(tried, RUN_SECONDS, what)


def _servers(
    week: Week, start_prefect: Any, start_mlflow: Any, postgres: Callable[[str], str]
) -> dict[str, Any]:
    databases = {name: postgres(f"week_{name}") for name in ("prefect", "mlflow")}
    databases["prefect"] = re.sub("^postgresql:", "postgresql+asyncpg:", databases["prefect"])
    prefect, mlflow = start_prefect(databases["prefect"]), start_mlflow(databases["mlflow"])
    week.environment["MLFLOW_TRACKING_URI"] = mlflow.url.removesuffix("/health")
    return {
        "prefect": prefect,
        "mlflow": mlflow,
        **{f"{name}_database": address for name, address in databases.items()},
    }


def _worker(start: Any) -> Any:
    return start(
        "worker", "prefect", "worker", "start", "--pool", "tokensieve", "--type", "process", cwd=ROOT
    )


def _write(path: Path, tiny_texts: tuple[list[str], list[str]], day: int) -> None:
    """Write the texts and `day` more of each class, as a nightly export does: beside, then
    renamed.
    """
    rows = list(zip(*tiny_texts, strict=True))
    rows += [(f"{text} {number}", label) for number in range(day) for text, label in rows[::12]]
    beside = path.with_suffix(".new")
    with beside.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    beside.replace(path)


def _kill_in_a_run(week: Week, worker: Any) -> str:
    """Kill the worker and all that it started in the middle of a run of tickets that has work;
    return the run's id.
    """
    known = {run["id"] for run in week.runs("tickets")}

    def at_work() -> list[str]:
        fresh = [
            run["id"]
            for run in week.runs("tickets")
            if run["id"] not in known and run["state_type"] == "RUNNING"
        ]
        return [run for run in fresh if "finetune" in week.log(run) or "mask" in week.log(run)]

    wait_for(at_work, RUN_SECONDS, "a run of tickets at work")
    run = at_work()[0]
    started = psutil.Process(worker.popen.pid).children(recursive=True)
    worker.kill()
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return str(run)


def _fill(disk: Path) -> Path:
    """Fill a file system but for 64 KB; return the file that takes the room."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        file.write(b"\0" * max(0, shutil.disk_usage(disk).free - 65_536))
    return filler


def _port(url: str) -> int:
    return int(urlsplit(url).port or 0)
