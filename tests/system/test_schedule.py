"""The deployments of deploy/prefect.yaml on real servers: scheduled runs complete, and no server or
worker logs an error.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.system import prefect_api
from tests.system.conftest import BIN, Process, Start, wait_for

ROOT = Path(__file__).parents[2]
RUN_SECONDS = 300.0  # what a run may take on a busy machine, from its schedule to its end
# On SQLite, Prefect's server gives up a write while another one is under way, and tries again at
# its next round.
LOCKS = 10
# Each loop of the server comes round within a test.
LOOPS = {
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "10",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ORPHAN_CLEANUP_LOOP_SECONDS": "10",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": '["events", "flow_runs"]',
    "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "10",
}


@dataclass
class Deployed:
    """A project whose deployments are on a Prefect server, and a worker for them."""

    project: Path
    worker: Process
    url: str

    def api(self, path: str, body: Any = None) -> Any:
        """Return the server's answer to a POST of `body`, or to a GET if there is none."""
        return prefect_api.ask(f"{self.url}{path}", body)

    def runs(self, *states: str) -> list[dict[str, Any]]:
        """Return the runs that are in one of `states`, oldest first."""
        kept = {"state": {"type": {"any_": states}}}
        return list(self.api("/flow_runs/filter", {"flow_runs": kept, "sort": "EXPECTED_START_TIME_ASC"}))

    def scheduled(self, *states: str) -> list[dict[str, Any]]:
        """Return those that the server's scheduler made and that have done the work."""
        return [
            run for run in self.runs(*states) if run["auto_scheduled"] and run["state"]["name"] != "Skipped"
        ]

    def begin(self) -> str:
        """Make a run of the deployment and return its id."""
        (deployment,) = self.api("/deployments/filter", {})
        return str(self.api(f"/deployments/{deployment['id']}/create_flow_run", {})["id"])

    def run(self, run_id: str) -> dict[str, Any]:
        """Return a run."""
        return dict(self.api(f"/flow_runs/{run_id}"))

    def works(self, run_id: str) -> bool:
        """Return whether a run is in its turn."""
        note = self.project / ".tokensieve" / "runs" / f"{run_id}.json"
        with contextlib.suppress(FileNotFoundError):
            return not json.loads(note.read_text(encoding="utf-8"))["waits"]
        return False

    def pid(self, run_id: str) -> int:
        """Wait until a run is in its turn and the worker has reported its process.

        Return the id of the process.
        """
        wait_for(
            lambda: self.works(run_id) and self.run(run_id)["infrastructure_pid"], RUN_SECONDS, "the run"
        )
        return int(self.run(run_id)["infrastructure_pid"].rpartition(":")[2])

    def log_of(self, run: dict[str, Any]) -> str:
        """Return the log on the run's page."""
        body = {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        return "\n".join(line["message"] for line in self.api("/logs/filter", body))

    def artifact_of(self, run: dict[str, Any]) -> dict[str, Any]:
        """Return the only text on the run's page. There may be a picture, too."""
        found = self.api("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
        (artifact,) = (artifact for artifact in found if artifact["type"] == "markdown")
        return dict(artifact)


@pytest.fixture
def deploy(
    start: Start,
    environment: dict[str, str],
    tmp_path: Path,
    small: list[str],
    data_file: Path,
    tokensieve: Callable[..., subprocess.CompletedProcess[str]],
) -> Callable[..., Deployed]:
    """Deploy `nightly` of deploy/prefect.yaml for a new project, on a schedule of `seconds` (0:
    none), and start a worker.
    """

    def begin(seconds: int) -> Deployed:
        project = tmp_path / "project"
        made = tokensieve("init", str(project), *small)
        assert made.returncode == 0, made.stderr
        tree = yaml.safe_load((ROOT / "deploy" / "prefect.yaml").read_text(encoding="utf-8"))
        (nightly,) = (deployment for deployment in tree["deployments"] if deployment["name"] == "nightly")
        nightly["schedules"] = [{"interval": seconds}] if seconds else []
        nightly["parameters"] |= {"project": str(project), "data": str(data_file)}
        file = tmp_path / "prefect.yaml"
        file.write_text(yaml.safe_dump(tree), encoding="utf-8")
        for command in (
            ["work-pool", "create", "tokensieve", "--type", "process"],
            ["--no-prompt", "deploy", "--name", "nightly", "--prefect-file", str(file)],
        ):
            done = subprocess.run(
                [str(BIN / "prefect"), *command],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        return Deployed(project, start_worker(start), environment["PREFECT_API_URL"])

    return begin


def start_worker(start: Start) -> Process:
    """Start a worker in the repository's root, as deploy/prefect.yaml describes."""
    return start("worker", str(BIN / "prefect"), "worker", "start", "--pool", "tokensieve", cwd=ROOT)


def kill_with_children(worker: Process) -> None:
    """Kill a worker and the process that it may have started for a run, before that process has
    begun the run: it takes seconds to import the flow.
    """
    worker.popen.send_signal(signal.SIGSTOP)  # so that it starts none meanwhile
    children = psutil.Process(worker.popen.pid).children(recursive=True)
    worker.kill()
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def replace_text(data_file: Path) -> None:
    """Change the last text of the data."""
    with data_file.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    rows[-1][0] += " since yesterday"
    beside = data_file.with_suffix(".new")  # a run may be reading it
    with beside.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    beside.replace(data_file)


def versions(mlflow: str) -> int:
    """Return how many versions of the model MLflow has."""
    url = f"{mlflow}/api/2.0/mlflow/model-versions/search?filter=name%3D%27project%27"
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=30) as response:
        return len(json.load(response).get("model_versions", []))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_two_scheduled_runs_complete_the_second_on_changed_data(
    database: str,
    start_prefect: Callable[..., Process],
    start_mlflow: Callable[..., Process],
    deploy: Callable[..., Deployed],
    environment: dict[str, str],
    data_file: Path,
    request: pytest.FixtureRequest,
) -> None:
    environment |= LOOPS
    addresses = ["", ""]
    if database == "postgresql":
        postgres = request.getfixturevalue("postgres")
        addresses = [
            re.sub("^postgresql:", "postgresql+asyncpg:", postgres("prefect_schedule")),
            postgres("mlflow_schedule"),
        ]
    prefect, mlflow = start_prefect(addresses[0]), start_mlflow(addresses[1])
    environment["MLFLOW_TRACKING_URI"] = mlflow.url.removesuffix("/health")
    deployed = deploy(seconds=30)

    wait_for(lambda: deployed.scheduled("COMPLETED"), RUN_SECONDS, "the first scheduled run")
    assert versions(environment["MLFLOW_TRACKING_URI"]) == 1
    replace_text(data_file)
    wait_for(
        lambda: versions(environment["MLFLOW_TRACKING_URI"]) == 2, RUN_SECONDS, "the second model version"
    )
    wait_for(lambda: len(deployed.scheduled("COMPLETED")) >= 2, RUN_SECONDS, "the end of the second run")
    assert deployed.runs("FAILED", "CRASHED", "CANCELLED") == []
    assert deployed.worker.errors() == []

    check_page(deployed, deployed.scheduled("COMPLETED")[0], environment["MLFLOW_TRACKING_URI"])
    with data_file.open("a", encoding="utf-8") as file:
        file.write("a text of its own kind,lonely\n")
    wait_for(lambda: deployed.scheduled("FAILED"), RUN_SECONDS, "a run on bad data")
    check_page_of_failure(deployed, deployed.scheduled("FAILED")[0])

    assert mlflow.errors() == [], mlflow.text()
    assert server_errors(prefect, locks=LOCKS if database == "sqlite" else 0) == []


def check_page(deployed: Deployed, run: dict[str, Any], mlflow: str) -> None:
    """Check what the page of a run that went well shows: our lines, the progress of training, the
    summary.
    """
    log = deployed.log_of(run)
    for line in ("validate   ...", "epoch 1 of 2", "epoch 2 of 2", "register"):
        assert log.count(line) >= 1, log
    assert log.count("epoch 1 of 2") == 1, log
    artifact = deployed.artifact_of(run)
    assert artifact["type"] == "markdown"
    text = artifact["data"]
    assert text.startswith("# project version 1\n")
    assert "| test accuracy | 0." in text
    assert "| texts | train" in text
    assert f"({mlflow}/#/models/project/versions/1)" in text
    assert re.search(rf"\({mlflow}/#/experiments/\d+/runs/\w+\?workflowType=machine_learning\)", text)
    assert str(deployed.project / "artifacts" / "onnx") in text
    assert not re.search(r"[{}]|\bNone\b|\['", text), text


def check_page_of_failure(deployed: Deployed, run: dict[str, Any]) -> None:
    """Check that the page of a run that failed shows the reason and the remedy, and no text of the
    data.
    """
    # Prefect's client sends log lines a few seconds later than states.
    wait_for(lambda: "lonely" in deployed.log_of(run), 60, "the reason on the run's page")
    log = deployed.log_of(run)
    assert "data.rare=drop" in log
    assert "Traceback" not in log
    assert "a text of its own kind" not in log
    assert "lonely" in run["state"]["message"]
    assert "a text of its own kind" not in json.dumps(run)


@pytest.mark.timeout(900)
def test_a_killed_run_is_marked_as_crashed_and_the_next_one_starts_at_once(
    start: Start,
    start_prefect: Callable[..., Process],
    deploy: Callable[..., Deployed],
    environment: dict[str, str],
    data_file: Path,
    tmp_path: Path,
) -> None:
    environment |= {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
    prefect = start_prefect()
    add_automations(tmp_path, environment, within=45)
    deployed = deploy(seconds=0)

    # A worker is killed before the flow's process begins.
    lost = deployed.begin()
    wait_for(lambda: deployed.run(lost)["state_type"] == "PENDING", RUN_SECONDS, "the worker to take a run")
    kill_with_children(deployed.worker)
    assert deployed.run(lost)["state_type"] == "PENDING"
    deployed.worker = start_worker(start)

    # The worker sees the end of the flow's process.
    first = deployed.begin()
    os.kill(deployed.pid(first), signal.SIGKILL)
    wait_for(lambda: deployed.run(first)["state_type"] == "CRASHED", 180, "the worker's report")

    # With the worker killed, too, the server misses the heartbeats.
    second = deployed.begin()
    flow = deployed.pid(second)
    deployed.worker.kill()
    os.kill(flow, signal.SIGKILL)
    assert deployed.run(second)["state_type"] == "RUNNING"
    wait_for(lambda: deployed.run(second)["state_type"] == "CRASHED", 180, "the automation")
    assert "heartbeats" in deployed.run(second)["state"]["message"]
    wait_for(lambda: deployed.run(lost)["state_type"] == "CRASHED", 180, "the automation")

    # The next run of the project does not wait for that.
    command = start(
        "command",
        str(BIN / "tokensieve"),
        "run",
        "--project",
        str(deployed.project),
        "--data",
        str(data_file),
    )
    notes = deployed.project / ".tokensieve" / "runs"

    def working() -> list[str]:
        return [
            note.stem
            for note in notes.glob("*.json")
            if note.stem not in (first, second) and deployed.works(note.stem)
        ]

    wait_for(working, RUN_SECONDS, "the command")
    (third,) = working()
    command.kill()
    assert deployed.run(third)["state_type"] == "RUNNING"
    start_worker(start)
    fourth = deployed.begin()
    wait_for(lambda: deployed.works(fourth), 120, "the next run")
    assert deployed.run(third)["state_type"] == "CRASHED"
    wait_for(lambda: deployed.run(fourth)["state_type"] == "COMPLETED", RUN_SECONDS, "its end")

    assert deployed.runs("RUNNING", "PENDING", "SCHEDULED") == []
    tasks = deployed.api("/task_runs/filter", {"task_runs": {"state": {"type": {"any_": ["RUNNING"]}}}})
    assert [task for task in tasks if task["flow_run_id"] == third] == []
    assert list(notes.iterdir()) == []
    assert server_errors(prefect, locks=LOCKS) == []


def server_errors(prefect: Process, locks: int) -> list[str]:
    """Return what Prefect's server logged as errors, less up to `locks` of SQLite's "database is
    locked".
    """
    records = re.split(r"(?m)^(?=\d\d:\d\d:\d\d\.\d+ \| )", prefect.text())
    errors = [record for record in records if re.search(r"\b(ERROR|CRITICAL)\b|(?m:^Traceback )", record)]
    locked = [error for error in errors if "database is locked" in error]
    return errors if len(locked) > locks else [error for error in errors if error not in locked]


def add_automations(folder: Path, environment: dict[str, str], within: int) -> None:
    """Add the automations of deploy/automations.yaml to the server, with a shorter time."""
    tree = yaml.safe_load((ROOT / "deploy" / "automations.yaml").read_text(encoding="utf-8"))
    for automation in tree["automations"]:
        automation["trigger"]["within"] = within
    file = folder / "automations.yaml"
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    command = [str(BIN / "prefect"), "automation", "create", "--from-file", str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
