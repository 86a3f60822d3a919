"""Runs of an MLflow server, read and changed through its REST API. It is a `runs.RunEditor`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from tokensieve.errors import InputError, excerpt
from tokensieve.registry.mlflow_rest import ANSWER, API, LOOKUP, PAGES, RestRegistry
from tokensieve.registry.runs import Experiment, Run
from tokensieve.registry.store import RegistryError, text_of, well_formed, without_password

RACE_SECONDS = 2.0  # for which a refused change is tried again
PAGE = 200  # runs


class RestRuns(RestRegistry):
    """The experiments and runs of an MLflow server. It is a `runs.RunEditor`."""

    def find_experiment(self, name: str) -> Experiment | None:
        found = self._ask("experiments/get-by-name", "experiment", experiment_name=name)
        with well_formed(self.uri, "experiment"):
            if found is None:
                return None
            tree = found["experiment"]
            return Experiment(text_of(tree["experiment_id"]), tree["lifecycle_stage"] == "deleted")

    def create_experiment(self, name: str, location: str | None) -> str:
        fields = {"name": name} | ({"artifact_location": location} if location else {})
        made = self._change("experiments/create", fields)
        with well_formed(self.uri, "experiment"):
            return text_of(made["experiment_id"])

    def rename_experiment(self, experiment: str, name: str) -> bool:
        try:
            self._change("experiments/update", {"experiment_id": experiment, "new_name": name})
        except RegistryError:
            found = self.find_experiment(name)
            if found is None:
                raise
            return found.id == experiment
        return True

    def delete_experiment(self, experiment: str) -> None:
        self._change("experiments/delete", {"experiment_id": experiment})

    def run(self, run: str) -> Run | None:
        found = self._ask("runs/get", "run", run_id=run) if run else None
        with well_formed(self.uri, "run"):
            return None if found is None else _run(found["run"])

    def runs(self, experiment: str) -> list[Run]:
        found: list[Run] = []
        token = ""
        for _ in range(PAGES):
            fields: dict[str, Any] = {
                "experiment_ids": [experiment],
                "max_results": PAGE,
                "run_view_type": "ALL",
                "page_token": token,
            }
            page = self._change("runs/search", fields)
            with well_formed(self.uri, "list of runs"):
                found += [_run(tree) for tree in page.get("runs", [])]
                token = text_of(page.get("next_page_token", ""))
            if not token:
                return found
        raise InputError(
            f"experiment {experiment} of {without_password(self.uri)} has more than {PAGES * PAGE:,} runs; "
            "delete some of them"
        )

    def create_run(self, experiment: str, name: str, tags: Mapping[str, str]) -> str:
        fields = {
            "experiment_id": experiment,
            "run_name": name,
            "start_time": int(time.time() * 1000),
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        made = self._change("runs/create", fields)
        with well_formed(self.uri, "run"):
            return text_of(made["run"]["info"]["run_id"])

    def write_once(self, run: str, key: str, value: str) -> bool:
        end = time.monotonic() + RACE_SECONDS
        while True:
            try:
                self._change("runs/log-parameter", {"run_id": run, "key": key, "value": value})
                return True
            except RegistryError:
                found = self.run(run)
                if found and key in found.params:
                    return found.params[key] == value
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def end_run(self, run: str, status: str) -> None:
        fields = {"run_id": run, "status": status, "end_time": int(time.time() * 1000)}
        self._change("runs/update", fields)

    def delete_run(self, run: str) -> None:
        self._change("runs/delete", {"run_id": run})

    def _change(self, endpoint: str, fields: dict[str, Any], method: str = "POST") -> dict[str, Any]:
        """Send a change, or a search, which MLflow reads from a body too. Return the answer.

        Raises:
            InputError: If the object does not exist, or if the server redirects, which loses the
                change.
        """
        body = json.dumps(fields).encode()
        with self._answer(API + endpoint, time.monotonic() + LOOKUP, body, method) as response:
            address = response.geturl() if response else ""
            text = response.read(ANSWER + 1) if response else b""
        if address and not address.endswith(API + endpoint):
            raise InputError(
                f"MLflow redirects to {without_password(address)}; "
                "set register.uri or MLFLOW_TRACKING_URI to that server"
            )
        if not address:
            named = excerpt(fields.get("name") or fields.get("run_id") or fields.get("experiment_id"))
            raise InputError(f"{named}, or its version, was deleted meanwhile")
        with well_formed(self.uri, "answer"):
            if len(text) > ANSWER:
                raise ValueError(f"{endpoint} answers with more than {ANSWER // 2**20} MiB")
            tree: dict[str, Any] = json.loads(text or b"{}")
            return dict(tree)


def _run(tree: dict[str, Any]) -> Run:
    info, data = tree["info"], tree.get("data", {})
    return Run(
        text_of(info["run_id"]),
        text_of(info["experiment_id"]),
        text_of(info.get("run_name", "")),
        text_of(info["status"]),
        info["lifecycle_stage"] == "deleted",
        int(info["start_time"]),
        {text_of(tag["key"]): text_of(tag.get("value", "")) for tag in data.get("tags", [])},
        {text_of(param["key"]): text_of(param.get("value", "")) for param in data.get("params", [])},
        {text_of(metric["key"]): float(metric["value"]) for metric in data.get("metrics", [])},
    )
