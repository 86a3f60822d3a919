"""A registry in a database, read in this process, which has imported MLflow already."""

from __future__ import annotations

from typing import Any

from tasks.tracking import mlflow_client
from tokensieve.registry.mlflow_process import MlflowProcess


class LoadedMlflow(MlflowProcess):
    """The registry at `uri`. A child process would import MLflow again, which takes seconds."""

    def describe(self, name: str) -> dict[str, Any]:
        return mlflow_client.describe(self.uri, name)
