"""The templates for runs in containers, on a real Prefect server. No container is started."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system import prefect_api
from tests.system.conftest import BIN, Process

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
def test_prefect_deploys_the_templates(
    start_prefect: Callable[..., Process], environment: dict[str, str]
) -> None:
    start_prefect()
    template = ["--base-job-template", "deploy/work-pool-kubernetes.json"]
    for kind, options in (("docker", []), ("kubernetes", template)):
        for command in (
            ["work-pool", "create", f"tokensieve-{kind}", "--type", kind, *options],
            ["--no-prompt", "deploy", "--all", "--prefect-file", f"deploy/prefect-{kind}.yaml"],
        ):
            done = subprocess.run(
                [str(BIN / "prefect"), *command],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
    address = f"{environment['PREFECT_API_URL']}/deployments/filter"
    made = {found["name"]: found for found in prefect_api.ask(address, {})}
    assert set(made) == {"nightly-docker", "nightly-kubernetes"}
    for found in made.values():
        assert found["global_concurrency_limit"]["limit"] == 1
        assert found["concurrency_options"]["collision_strategy"] == "ENQUEUE"
        assert found["schedules"][0]["schedule"]["timezone"] == "Europe/Berlin"
