"""A registry, or artifacts, that only MLflow can reach: a child process imports it, answers one question and ends.

So this process stays small; a question takes the seconds that importing MLflow takes.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tokensieve import packages
from tokensieve.errors import InputError
from tokensieve.registry.mlflow_rest import FILE
from tokensieve.registry.store import (
    ModelVersion,
    RegistryError,
    no_answer,
    text_of,
    well_formed,
    without_password,
)

LOOKUP, DOWNLOAD = 120.0, 1800.0  # seconds
# What MLflow would send to the host of an artifact, whichever it is.
CREDENTIALS = {
    f"MLFLOW_TRACKING_{name}"
    for name in ("URI", "USERNAME", "PASSWORD", "TOKEN", "AUTH", "AWS_SIGV4", "CLIENT_CERT_PATH")
} | {"MLFLOW_REGISTRY_URI"}


@dataclass(frozen=True)
class Process:
    """The registry at `uri` through MLflow's own client."""

    uri: str

    def models(self) -> list[str]:
        return list(self._described("")["models"])

    def aliases(self, name: str) -> dict[str, str] | None:
        aliases: dict[str, str] | None = self._described(name)["aliases"]
        return aliases

    def versions(self, name: str) -> list[str]:
        return list(self._described(name)["versions"])

    def version(self, name: str, number: str) -> ModelVersion | None:
        found = self._described(name)["versions"].get(number)
        return found and ModelVersion(**found)

    def download(self, location: str, into: Path) -> Path:
        """Fetch the served folder of the model at `location` into the folder `into` and return its path.

        The child gets no credentials of the registry: `location` comes from the registry, and may name any host.

        Raises:
            InputError: If it does not exist.
        """
        question = {
            "ask": "download",
            "uri": without_password(self.uri),
            "location": location,
            "into": str(into.resolve()),
        }
        environment = {key: value for key, value in os.environ.items() if key not in CREDENTIALS}
        if urlsplit(location).scheme in ("http", "https"):
            environment["HOME"] = str(into.resolve())  # MLflow would read ~/.mlflow/credentials
        return Path(text_of(self._answer(question, DOWNLOAD, environment)["folder"]))

    def _described(self, name: str) -> dict[str, Any]:
        return self._answer({"ask": "described", "uri": self.uri, "name": name}, LOOKUP)

    def _answer(
        self, question: dict[str, str], timeout: float, environment: dict[str, str] | None = None
    ) -> dict[str, Any]:
        if find_spec("mlflow") is None:
            raise InputError(
                f"{without_password(self.uri)} or its artifacts can be read with MLflow alone, which is not installed here; "
                "run mlflow server --serve-artifacts on it and set MLFLOW_TRACKING_URI to the server's address"
            )
        # On standard input: a password among the arguments would show in the list of processes.
        command = packages.command("tokensieve.registry.mlflow_process")
        try:
            done = subprocess.run(
                command,
                input=json.dumps(question),
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
                env=environment,
            )
        except subprocess.TimeoutExpired:
            raise no_answer(self.uri, f"none within {timeout:.0f} s") from None
        if done.returncode:
            raise no_answer(
                self.uri,
                ([line for line in done.stderr.splitlines() if line.strip()] or ["the process died"])[-1],
            )
        with well_formed(self.uri, "answer"):
            answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        if "error" in answer:
            raise (RegistryError if answer["passing"] else InputError)(answer["error"])
        return answer


def main() -> None:
    """Answer the question on standard input with one line of JSON, an InputError among them."""
    from tasks import mlflow_client

    question = json.load(sys.stdin)
    answer: dict[str, Any]
    try:
        if question["ask"] == "described":
            answer = mlflow_client.described(question["uri"], question["name"])
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
            folder = mlflow_client.download(question["uri"], question["location"], Path(question["into"]))
            answer = {"folder": str(folder)}
    except InputError as error:
        answer = {"error": str(error), "passing": isinstance(error, RegistryError)}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
