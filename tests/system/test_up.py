"""`tokensieve up`: all servers start, work together, and end, however the command ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from flows.events import DriftFound, ModelPromoted, emit
from flows.up import deployments
from flows.up.local_http import answers as is_up
from tests.system import prefect_api
from tests.system.conftest import BIN, Process, Start, free_port, show_end, wait_for
from tests.system.webhook import listening
from tokensieve import packages
from tokensieve.files import write_json
from tokensieve.project import Layout

READY, RUN = 240.0, 240.0  # seconds on a busy machine
Run = Callable[..., subprocess.CompletedProcess[str]]


@dataclass
class Up:
    """A running `tokensieve up`."""

    process: Process
    project: Path
    ports: dict[str, int]

    def address(self, option: str) -> str:
        """Return the address of a service by the option of its port."""
        return f"http://127.0.0.1:{self.ports[option]}"

    def api(self, path: str, body: Any) -> Any:
        """Return the response of Prefect's API to a POST."""
        return prefect_api.ask(f"{self.address('--prefect-port')}/api{path}", body)

    def stop_schedules(self) -> None:
        """Make all schedules inactive: the clock may come to three o'clock during the test."""
        for found in self.api("/deployments/filter", {}):
            for schedule in found["schedules"]:
                path = f"deployments/{found['id']}/schedules/{schedule['id']}"
                address = f"{self.address('--prefect-port')}/api/{path}"
                prefect_api.ask(address, {"active": False}, "PATCH")

    def runs(self, *states: str) -> list[dict[str, Any]]:
        """Return the runs in these states."""
        return list(self.api("/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": states}}}}))

    def retrainings(self, *states: str) -> list[dict[str, Any]]:
        """Return the runs of retrain in these states, oldest first."""
        found = [run for run in self.runs(*states) if run["name"].startswith("retrain")]
        return sorted(found, key=lambda run: str(run["start_time"]))

    def looks(self, *states: str) -> list[dict[str, Any]]:
        """Return the runs of watch in these states."""
        return [run for run in self.runs(*states) if run["name"].startswith("watch")]

    def begin(self, name: str) -> None:
        """Begin a run of a deployment."""
        (found,) = self.api("/deployments/filter", {"deployments": {"name": {"any_": [name]}}})
        body: dict[str, Any] = {"state": {"type": "SCHEDULED"}}
        assert self.api(f"/deployments/{found['id']}/create_flow_run", body)

    def descendants(self) -> list[psutil.Process]:
        """Return all processes that it has started."""
        return psutil.Process(self.process.popen.pid).children(recursive=True)

    def logs(self) -> str:
        """Return all that it and its services have printed."""
        folder = self.project / ".tokensieve" / "up"
        # A service may be in the middle of a character.
        texts = [path.read_text("utf-8", errors="replace") for path in folder.glob("*.log")]
        return self.process.text() + "".join(texts)


@pytest.fixture
def up(
    start: Start, tokensieve: Run, small: list[str], data_file: Path, tmp_path: Path
) -> Iterator[Callable[..., Up]]:
    """Start `tokensieve up` for a new project, and wait until it has printed the addresses."""
    left: list[psutil.Process] = []

    def begin(*arguments: str) -> Up:
        project = tmp_path / "project"
        if not project.exists():
            assert tokensieve("init", str(project), *small).returncode == 0
        ports = {option: free_port() for option in ("--port", "--prefect-port", "--mlflow-port")}
        options = [str(word) for pair in ports.items() for word in pair]
        command = ["up", "--project", str(project), "--data", str(data_file), *options, *arguments]
        process = start("up", str(BIN / "tokensieve"), *command)
        wait_for(
            lambda: "\nlogs " in process.text() or process.popen.poll() is not None, READY, "the addresses"
        )
        assert process.popen.poll() is None, process.text()
        running = Up(process, project, ports)
        left.extend(running.descendants())
        running.stop_schedules()
        return running

    yield begin
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    for log in sorted(tmp_path.glob("project/.tokensieve/up/*.log")):
        show_end(log)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that are running."""
    return [process for process in processes if command_line(process)]


def command_line(process: psutil.Process) -> list[str]:
    """Return the words that started a process; none if it has ended, be it since a moment ago."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # a zombie too
        return []


@pytest.mark.timeout(900)
def test_up_trains_promotes_and_serves_restarts_what_dies_and_ends_on_ctrl_c(
    up: Callable[..., Up], tokensieve: Run, data_file: Path
) -> None:
    running = up()
    text = running.process.text()
    for option in ("--port", "--prefect-port", "--mlflow-port"):
        assert running.address(option) in text
    assert "nightly (0 3 * * * UTC)" in text
    pages = running.project / ".tokensieve" / "up" / "prefect-pages"
    assert (pages / "v2" / "index.html").exists()  # not in the folder of the environment
    assert not is_up(f"{running.address('--port')}/ready")

    # The first look at the data starts a run.
    wait_for(lambda: running.retrainings("COMPLETED"), RUN, "a run")
    wait_for(lambda: "\nrun ended: Version 1 of project" in running.process.text(), 10, "its line")
    assert "\nrun began\n" in running.process.text()
    # A command in another shell uses the SQLite file, and finds what the run has registered on the
    # server.
    promoted = tokensieve("promote", "--project", str(running.project))
    assert promoted.returncode == 0, promoted.stderr
    wait_for(lambda: is_up(f"{running.address('--port')}/ready"), READY, "the inference server")
    address = f"{running.address('--port')}/predict"
    answer = httpx.post(address, json={"text": "where is my parcel"}, timeout=60, trust_env=False)
    assert answer.json()["version"] == "1"

    second = tokensieve("up", "--project", str(running.project))
    assert (second.returncode, "runs already" in second.stderr) == (2, True), second.stderr

    # The first one: a process that the worker is about to start has its words for a moment.
    worker = next(
        found
        for found in running.descendants()
        if command_line(found)[1:5] == ["-m", "prefect", "worker", "start"]
    )
    worker.kill()
    wait_for(lambda: "worker starts again in 1 s" in running.process.text(), 120, "the end of the worker")
    wait_for(lambda: running.process.text().count("worker is ready") == 2, READY, "the worker")

    processes = running.descendants()
    assert running.process.stop(signal.SIGINT, 60) == 0
    assert alive(processes) == []
    assert "Traceback" not in running.process.text()


@pytest.mark.timeout(900)
def test_a_killed_up_leaves_no_process_and_the_next_one_goes_on(
    up: Callable[..., Up], postgres: Callable[[str], str], environment: dict[str, str]
) -> None:
    server = postgres("unused").rpartition("/")[0].replace("tokensieve@", "tokensieve:hidden-password@")
    environment["TOKENSIEVE_POSTGRES"] = server
    running = up()
    commands = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True).stdout
    assert "hidden-password" not in commands + running.logs()
    assert not (running.project / "mlflow.db").exists()
    assert not (running.project / "prefect.db").exists()

    notes = running.project / ".tokensieve" / "runs"
    wait_for(lambda: list(notes.glob("*.json")), RUN, "a run")
    processes = running.descendants()
    assert len(processes) > 6
    os.kill(running.process.popen.pid, signal.SIGKILL)
    wait_for(lambda: alive(processes) == [], 120, "the end of all processes")

    again = up()
    again.begin("nightly")
    wait_for(lambda: again.runs("COMPLETED"), RUN, "a run")
    processes = again.descendants()
    assert again.process.stop(signal.SIGTERM, 60) == 0
    assert alive(processes) == []
    assert "hidden-password" not in again.logs()


@pytest.mark.timeout(900)
def test_events_start_retrainings_and_people_are_notified(
    up: Callable[..., Up], environment: dict[str, str], data_file: Path
) -> None:
    with listening() as webhook:
        environment["TOKENSIEVE_WEBHOOK"] = webhook.url
        running = up()
        # The first look at the data emits the event.
        wait_for(lambda: running.retrainings("COMPLETED"), RUN, "a retraining after the event")
        (first,) = running.retrainings("COMPLETED")
        assert first["created_by"]["type"] == "AUTOMATION"

        running.begin("promote")
        wait_for(lambda: webhook.of("tokensieve.model.promoted"), RUN, "the notification")
        (promoted,) = webhook.of("tokensieve.model.promoted")
        assert (promoted["version"], promoted["action"], promoted["replaced"]) == ("1", "promote", None)
        assert promoted["text"].startswith("project: version 1 of project is now the champion")

        # Nothing new: the run trains nothing.
        assert emit(
            Layout(running.project),
            DriftFound("project", "1", 200, ("labels",)),
        )
        wait_for(lambda: len(running.retrainings("COMPLETED")) == 2, RUN, "a run after drift")
        last = running.retrainings("COMPLETED")[-1]
        assert last["state"]["message"] == "Nothing new: version 1 of project is current."
        assert last["total_run_time"] < first["total_run_time"]

        with data_file.open("a", encoding="utf-8") as file:
            file.write("a text of its own kind,lonely\n")
        running.begin("watch")
        wait_for(lambda: webhook.of("tokensieve.run.failed"), RUN, "the notification")
        (failed,) = webhook.of("tokensieve.run.failed")
        assert failed["stage"] == "validate"
        assert "lonely" in failed["reason"]
        assert "a text of its own kind" not in str(webhook.bodies)
        wait_for(lambda: running.retrainings("FAILED"), RUN, "the end of the run")
        (run,) = running.retrainings("FAILED")
        made = running.api("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
        (page,) = (found for found in made if found["key"] == "run-failed")
        assert page["data"].startswith("# Failed in stage validate\n\n**Reason:** ")
        assert "**Remedy:** " in page["data"]

        # The file that is watched is gone: people are notified once.
        moved = data_file.replace(data_file.with_suffix(".gone"))
        for number in (1, 2):
            running.begin("watch")
            wait_for(lambda number=number: len(running.looks("FAILED")) == number, RUN, "a look that fails")
        gone = webhook.of("tokensieve.run.failed")[1:]
        assert [(sent["stage"], "does not exist" in sent["reason"]) for sent in gone] == [("", True)]
        wait_for(lambda: "\nwatch failed: " in running.process.text(), 10, "its line")
        moved.replace(data_file)
        running.begin("watch")
        wait_for(lambda: "\nwatch works again\n" in running.process.text(), RUN, "a look that works")
        assert running.process.text().count("\nwatch failed: ") == 1
        assert "hidden-path" not in running.logs()


MAKE_BLOCK = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock

message = {"subject": "{{subject}}", "body": "{{body}}"}
block = CustomWebhookNotificationBlock(name="people", url=sys.argv[1], json_data=message)
block.save("people")
"""


@pytest.mark.timeout(600)
def test_prefects_notification_block_gets_the_events(
    start_prefect: Callable[..., Process], environment: dict[str, str], tmp_path: Path
) -> None:
    start_prefect()
    with listening() as webhook:
        environment["TOKENSIEVE_NOTIFICATION_BLOCK"] = "custom-webhook/people"
        layout = Layout(tmp_path / "project")
        (tmp_path / "up").mkdir()
        deployments.write(layout, None, None, tmp_path / "up")
        for command in (
            [str(BIN / "python"), "-c", MAKE_BLOCK, webhook.url],
            packages.command("flows.up.deploy", str(tmp_path / "up" / "prefect.yaml")),
            # A second time, nothing is there twice.
            packages.command("flows.up.deploy", str(tmp_path / "up" / "prefect.yaml")),
        ):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        layout.addresses.parent.mkdir(parents=True)
        write_json(layout.addresses, {"prefect_api": environment["PREFECT_API_URL"]})
        assert emit(layout, ModelPromoted("intents", "2", "1", "promote", "better"))
        wait_for(lambda: webhook.bodies, 60, "the notification")
        (sent,) = webhook.bodies
        assert sent["subject"] == "project: tokensieve.model.promoted"
        assert "version: 2\n" in sent["body"]
