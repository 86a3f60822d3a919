"""A registry that only MLflow's own client reaches, for example PostgreSQL.

It is a `registry.store.RegistryEditor`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from tasks.tracking.mlflow_client import (
    aliases_of,
    all_runs,
    changed,
    connect,
    find_model,
    none_if_missing,
    refused,
)
from tokensieve.registry.runs import Experiment, Run
from tokensieve.registry.store import ModelVersion, RegistryError, no_answer, present_location


class MlflowEditor:
    """The registry at `uri`, in a database."""

    def __init__(self, uri: str) -> None:
        self.uri, self._client = uri, connect(uri)

    def models(self) -> list[str]:
        return [model.name for model in self._client.search_registered_models()]

    def aliases(self, name: str) -> dict[str, str] | None:
        model = find_model(self._client, name)
        return aliases_of(model) if model else None

    def versions(self, name: str) -> list[str]:
        return [str(found.version) for found in self._client.search_model_versions(f"name = '{name}'")]

    def version(self, name: str, number: str) -> ModelVersion | None:
        found = self._found(name, number)
        location = self._client.get_model_version_download_uri(name, number) if found else ""
        location = present_location(self.uri, location)
        return ModelVersion(found.run_id or "", location, found.creation_timestamp) if found else None

    def tags(self, name: str) -> dict[str, str]:
        model = find_model(self._client, name)
        return dict(model.tags) if model else {}

    def version_tags(self, name: str, number: str) -> dict[str, str]:
        found = self._found(name, number)
        return dict(found.tags) if found else {}

    def experiment(self, name: str) -> str | None:
        found = self._client.get_experiment_by_name(name)
        return str(found.lifecycle_stage) if found else None

    def set_alias(self, name: str, alias: str, number: str) -> None:
        self._change(lambda: self._client.set_registered_model_alias(name, alias, number))

    def delete_version(self, name: str, number: str) -> None:
        self._change(lambda: self._client.delete_model_version(name, number))

    def delete_alias(self, name: str, alias: str) -> None:
        self._change(lambda: self._client.delete_registered_model_alias(name, alias))

    def set_tag(self, name: str, key: str, value: str) -> None:
        self._change(lambda: self._client.set_registered_model_tag(name, key, value))

    def find_experiment(self, name: str) -> Experiment | None:
        found = self._client.get_experiment_by_name(name)
        return Experiment(str(found.experiment_id), found.lifecycle_stage == "deleted") if found else None

    def create_experiment(self, name: str, location: str | None) -> str:
        return str(self._change(lambda: self._client.create_experiment(name, artifact_location=location)))

    def rename_experiment(self, experiment: str, name: str) -> bool:
        try:
            self._change(lambda: self._client.rename_experiment(experiment, name))
        except RegistryError:
            found = self.find_experiment(name)
            if found is None:
                raise
            return found.id == experiment
        return True

    def delete_experiment(self, experiment: str) -> None:
        self._change(lambda: self._client.delete_experiment(experiment))

    def run(self, run: str) -> Run | None:
        found = none_if_missing(lambda: self._client.get_run(run)) if run else None
        return _run(found) if found else None

    def runs(self, experiment: str) -> list[Run]:
        return [_run(found) for found in all_runs(self._client, experiment)]

    def create_run(self, experiment: str, name: str, tags: Mapping[str, str]) -> str:
        made = self._change(lambda: self._client.create_run(experiment, tags=dict(tags), run_name=name))
        return str(made.info.run_id)

    def write_once(self, run: str, key: str, value: str) -> bool:
        if refused(self.uri, lambda: self._client.log_param(run, key, value)):
            found = self.run(run)
            if found is None or key not in found.params:
                raise no_answer(self.uri, f"run {run} is deleted", "restore it (mlflow runs restore)")
            return found.params[key] == value
        return True

    def end_run(self, run: str, status: str) -> None:
        now = int(time.time() * 1000)
        self._change(lambda: self._client.set_terminated(run, status, now))

    def delete_run(self, run: str) -> None:
        self._change(lambda: self._client.delete_run(run))

    def _change(self, change: Callable[[], Any]) -> Any:
        return changed(self.uri, change)

    def _found(self, name: str, number: str) -> Any:
        return none_if_missing(lambda: self._client.get_model_version(name, number))


def _run(found: Any) -> Run:
    """Return a run of MLflow's client as one of ours."""
    info, data = found.info, found.data
    return Run(
        str(info.run_id),
        str(info.experiment_id),
        info.run_name or "",
        str(info.status),
        info.lifecycle_stage == "deleted",
        int(info.start_time),
        dict(data.tags),
        dict(data.params),
        dict(data.metrics),
    )
