"""A project whose servers `tokensieve up` has started, its traffic, and the data of the story."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.system import prefect_api
from tests.system.conftest import Process, wait_for

RUN = 400.0  # seconds that a run may take on a busy machine
DRAWN = 200  # texts of one window of traffic

Rows = list[tuple[str, str]]
Run = Callable[..., subprocess.CompletedProcess[str]]

GREETINGS = ("hello, ", "hi, ", "excuse me: ", "dear team, ", "one question: ", "good morning, ", "urgent: ")
ENDINGS = (" since monday", " on my phone", "", ", thanks")


def rows(texts: Sequence[str], labels: Sequence[str], greetings: Sequence[str], ends: Sequence[str]) -> Rows:
    """Return each text with each greeting and each ending, and its label."""
    return [
        (f"{greeting}{text}{end}", label)
        for text, label in zip(texts, labels, strict=True)
        for greeting in greetings
        for end in ends
    ]


def shuffled(given: Rows, share: float) -> Rows:
    """Return the rows with the labels of a share of them shuffled."""
    draw, found = random.Random(1), list(given)
    places = draw.sample(range(len(found)), int(share * len(found)))
    labels = [found[place][1] for place in places]
    draw.shuffle(labels)
    for place, label in zip(places, labels, strict=True):
        found[place] = (found[place][0], label)
    return found


def write_rows(path: Path, given: Rows) -> None:
    """Write rows as a CSV file: beside, then renamed, for a run may be reading it."""
    beside = path.with_suffix(".new")
    with beside.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *given])
    beside.replace(path)


def fetch(url: str, body: Any = None) -> bytes:
    """Return the response to a POST of `body` as JSON, or to a GET if there is none."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as response:
        return bytes(response.read())


@dataclass
class Story:
    """A project, its servers, and commands of it."""

    process: Process
    project: Path
    data: Path
    prefect: str
    mlflow: str
    server: str
    tokensieve: Run

    def api(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """Return the response of Prefect's API."""
        return prefect_api.ask(f"{self.prefect}/api{path}", body, method)

    def deployment(self, name: str) -> dict[str, Any]:
        """Return a deployment."""
        (found,) = self.api("/deployments/filter", {"deployments": {"name": {"any_": [name]}}})
        return dict(found)

    def begin(self, name: str, **parameters: Any) -> str:
        """Begin a run of a deployment and return its id."""
        body = {"state": {"type": "SCHEDULED"}, "parameters": parameters}
        made = self.api(f"/deployments/{self.deployment(name)['id']}/create_flow_run", body)
        return str(made["id"])

    def run(self, name: str, **parameters: Any) -> dict[str, Any]:
        """Begin a run of a deployment, wait for its end and return it."""
        begun = self.begin(name, **parameters)
        wait_for(lambda: self.ended(begun), RUN, f"a run of {name}")
        return self.ended(begun)

    def ended(self, begun: str) -> dict[str, Any]:
        """Return a run that has ended; empty if it has not."""
        found = self.api(f"/flow_runs/{begun}")
        return found if found["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else {}

    def stop_schedules(self, name: str) -> None:
        """Make the schedules of a deployment inactive, as a person does on Prefect's page, and wait
        for its runs that have begun.
        """
        found = self.deployment(name)
        for schedule in found["schedules"]:
            path = f"/deployments/{found['id']}/schedules/{schedule['id']}"
            self.api(path, {"active": False}, "PATCH")
        # Those that are due are deleted, and one may have begun.
        states = {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}}}
        body = {"deployments": {"id": {"any_": [found["id"]]}}, "flow_runs": states}
        wait_for(lambda: not self.api("/flow_runs/filter", body), RUN, f"the runs of {name} under way")

    def retrainings(self) -> list[dict[str, Any]]:
        """Return the ended runs of nightly that did not wait in vain, oldest first."""
        kept = {"id": {"any_": [self.deployment("nightly")["id"]]}}
        found = self.api("/flow_runs/filter", {"deployments": kept, "sort": "START_TIME_ASC"})
        return [run for run in found if run["end_time"] and run["state_name"] != "Skipped"]

    def retrained_after(self, act: Callable[[], Any]) -> dict[str, Any]:
        """Do what starts a retraining, wait for its end and return it."""
        before = len(self.retrainings())
        act()
        wait_for(lambda: len(self.retrainings()) > before, RUN, "a retraining")
        return self.retrainings()[before]

    def page(self, run: dict[str, Any], key: str) -> str:
        """Return an artifact on the page of a run."""
        found = self.api("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
        return "\n".join(str(one["data"]) for one in found if one["key"] == key)

    def command(self, *words: str, status: int = 0) -> str:
        """Run a command of the project; return what it prints, with the errors if it is to fail."""
        done = self.tokensieve(*words, "--project", str(self.project), MLFLOW_TRACKING_URI=self.mlflow)
        assert done.returncode == status, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr if status else done.stdout

    def history(self) -> list[dict[str, Any]]:
        """Return the entries of the record, which is intact."""
        found = json.loads(self.command("history", "--json"))
        assert found["intact"]
        return list(found["entries"])

    def answers(self, texts: Sequence[str]) -> bytes:
        """Return the server's response to texts, byte for byte."""
        return fetch(f"{self.server}/predict", {"texts": list(texts)})

    def ask(self, texts: Sequence[str]) -> None:
        """Send texts to the server, 50 per request."""
        for begin in range(0, len(texts), 50):
            self.answers(texts[begin : begin + 50])

    def version(self) -> str:
        """Return the version that answers."""
        return str(json.loads(self.answers(["where is my parcel"]))["version"])

    def wait_for_version(self, version: str) -> None:
        """Wait until the server answers with a version."""
        wait_for(lambda: self.version() == version, 180, f"version {version} to answer")


@dataclass
class Traffic:
    """A client that asks the server for one text after the other, until `stop`."""

    story: Story
    texts: list[str]
    answered: dict[str, int] = field(default_factory=dict)  # how many answers per version
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop asking."""
        self._end.set()
        self._thread.join(60)

    def _ask(self) -> None:
        while not self._end.is_set():
            for text in self.texts:
                try:
                    found = json.loads(fetch(f"{self.story.server}/predict", {"text": text}))["version"]
                    self.answered[found] = self.answered.get(found, 0) + 1
                except (OSError, ValueError, KeyError) as error:
                    self.errors.append(f"{time.strftime('%X')} {error}")
                if self._end.wait(0.2):
                    break
