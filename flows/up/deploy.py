"""Make the work pool, the automations and the deployments on the server of PREFECT_API_URL."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectAlreadyExists

from flows.up.deployments import AUTOMATIONS, POOL, packed
from tokensieve import packages


def main(file: Path) -> int:
    """Make all of them, or bring them up to date. Return the exit status."""
    with get_client(sync_client=True) as client:
        with contextlib.suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        _automate(client)
    command = ["--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
    done = subprocess.run([sys.executable, "-m", "prefect", *command], cwd=packages.ROOT, check=False)
    return done.returncode


def _automate(client: SyncPrefectClient) -> None:
    """Make the automations again: those of an earlier version of the package may differ."""
    known = yaml.safe_load(packed(AUTOMATIONS).read_text(encoding="utf-8"))["automations"]
    for automation in map(AutomationCore.model_validate, known):
        for found in client.read_automations_by_name(automation.name):
            client.delete_automation(found.id)
        client.create_automation(automation)


if __name__ == "__main__":
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    sys.exit(main(Path(sys.argv[1])))
