"""Make the work pool, the automations and the deployments on the server of PREFECT_API_URL."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows.up.deployments import AUTOMATIONS, NOTIFICATIONS, POOL, WATCH, packed
from tokensieve import packages

VARIABLE = "TOKENSIEVE_NOTIFICATION_BLOCK"


def main(file: Path) -> int:
    """Make all of them, or bring them up to date. Return the exit status."""
    with get_client(sync_client=True) as client:
        with contextlib.suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        _automate(client, packed(AUTOMATIONS).read_text(encoding="utf-8"))
        if block := os.environ.get(VARIABLE):
            found = _block(client, block)
            text = packed(NOTIFICATIONS).read_text(encoding="utf-8")
            _automate(client, text.replace("block_document_id: BLOCK", f"block_document_id: {found}"))
        command = ["--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
        done = subprocess.run([sys.executable, "-m", "prefect", *command], cwd=packages.ROOT, check=False)
        if done.returncode == 0:
            _look(client, yaml.safe_load(file.read_text(encoding="utf-8"))["deployments"])
    return done.returncode


def _automate(client: SyncPrefectClient, text: str) -> None:
    """Make the automations again: those of an earlier version of the package may differ."""
    for automation in map(AutomationCore.model_validate, yaml.safe_load(text)["automations"]):
        for found in client.read_automations_by_name(automation.name):
            client.delete_automation(found.id)
        client.create_automation(automation)


def _look(client: SyncPrefectClient, deployments: list[dict[str, Any]]) -> None:
    """Look at the data now, and not only after the first interval."""
    for deployment in deployments:
        if deployment["name"] == WATCH and deployment["parameters"].get("data"):
            with contextlib.suppress(ObjectNotFound):  # a user's deployment of another flow
                client.create_flow_run_from_deployment(client.read_deployment_by_name(f"{WATCH}/{WATCH}").id)


def _block(client: SyncPrefectClient, block: str) -> str:
    """Return the id of a notification block, given as TYPE/NAME.

    Raises:
        SystemExit: If there is none of that name.
    """
    kind, _, name = block.partition("/")
    try:
        return str(client.read_block_document_by_name(name, kind).id)
    except ObjectNotFound:
        sys.exit(
            f"{VARIABLE} is {block}, and Prefect has no such block; make it on its page, or unset {VARIABLE}"
        )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
