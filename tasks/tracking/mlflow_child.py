"""The child process of `tokensieve.registry.mlflow_process`.

It imports MLflow, responds to one request and ends.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

from tokensieve.errors import InputError
from tokensieve.registry.mlflow_rest import FILE
from tokensieve.registry.store import RegistryError


def main() -> None:
    """Read a request from stdin and write the response, or the error, as one line of JSON."""
    from tasks.tracking import mlflow_client

    question = json.load(sys.stdin)
    answer: dict[str, Any]
    try:
        if question["ask"] == "describe":
            answer = mlflow_client.describe(question["uri"], question["name"])
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
            folder = mlflow_client.download(question["uri"], question["location"], Path(question["into"]))
            answer = {"folder": str(folder)}
    except InputError as error:
        answer = {"error": str(error), "temporary": isinstance(error, RegistryError)}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
