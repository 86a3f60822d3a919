"""A registry, or artifacts, that only MLflow can reach: a child process imports it, answers one question and ends.

So this process stays small; a question takes the seconds that importing MLflow takes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tasks.store import ModelVersion, RegistryError, no_answer, without_password
from tokensieve.errors import InputError

LOOKUP, DOWNLOAD = 120.0, 1800.0  # seconds


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

    def download(self, name: str, number: str, into: Path) -> Path:
        """Fetch a version's served folder into the folder `into`; returns where it stands. Raises InputError: it is not there."""
        question = {"ask": "download", "uri": self.uri, "name": name, "version": number, "into": str(into.resolve())}
        return Path(self._answer(question, DOWNLOAD)["folder"])

    def _described(self, name: str) -> dict[str, Any]:
        return self._answer({"ask": "described", "uri": self.uri, "name": name}, LOOKUP)

    def _answer(self, question: dict[str, str], timeout: float) -> dict[str, Any]:
        if find_spec("mlflow") is None:
            raise InputError(
                f"{without_password(self.uri)} or its artifacts can be read with MLflow alone, which is not installed here; "
                "run mlflow server --serve-artifacts on it and set MLFLOW_TRACKING_URI to the server's address"
            )
        # On standard input: a password among the arguments would show in the list of processes. And -P, or a folder
        # of the working directory named tasks would be imported.
        command = [sys.executable, "-P", "-m", "tasks.elsewhere"]
        try:
            done = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            raise no_answer(self.uri, f"none within {timeout:.0f} s") from None
        if done.returncode:
            raise no_answer(self.uri, ([line for line in done.stderr.splitlines() if line.strip()] or ["the process died"])[-1])
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        if "error" in answer:
            raise (RegistryError if answer["passing"] else InputError)(answer["error"])
        return answer


def main() -> None:
    """Answer the question on standard input with one line of JSON, an InputError among them."""
    from tasks import tracking

    question = json.load(sys.stdin)
    answer: dict[str, Any]
    try:
        if question["ask"] == "described":
            answer = tracking.described(question["uri"], question["name"])
        else:
            folder = tracking.download(question["uri"], question["name"], question["version"], Path(question["into"]))
            answer = {"folder": str(folder)}
    except InputError as error:
        answer = {"error": str(error), "passing": isinstance(error, RegistryError)}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
