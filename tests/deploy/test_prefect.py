"""Check that entry points, parameters, flows and states in prefect.yaml and automations.yaml
exist.
"""

from __future__ import annotations

import importlib
import inspect
import json
import uuid
from pathlib import Path

import prefect
import pytest
import yaml

ROOT = Path(__file__).parents[2]
COLLECTIONS = Path(prefect.__file__).parent / "server/api/collections_data/views"
FILES = ("prefect.yaml", "prefect-docker.yaml", "prefect-kubernetes.yaml")


def _deployments(file: str) -> list[dict]:  # type: ignore[type-arg]
    tree = yaml.safe_load((ROOT / "deploy" / file).read_text(encoding="utf-8"))
    return list(tree["deployments"])


DEPLOYMENTS = _deployments("prefect.yaml")
SCHEDULED = {found["entrypoint"].split(":")[1] for found in DEPLOYMENTS if found.get("schedules")}
EVERY = [deployment for file in FILES for deployment in _deployments(file)]


@pytest.mark.parametrize("deployment", EVERY, ids=lambda deployment: deployment["name"])
def test_deployments_call_flows_with_valid_parameters(deployment: dict) -> None:  # type: ignore[type-arg]
    path, name = deployment["entrypoint"].split(":")
    assert (ROOT / path).exists()
    flow = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    known = inspect.signature(flow.fn).parameters
    assert set(deployment["parameters"]) <= set(known)
    # Prefect asks for the others when a run is started.
    asked = {name: "texts.csv" for name, one in known.items() if one.default is inspect.Parameter.empty}
    flow.validate_parameters(asked | deployment["parameters"])


def test_no_deployment_has_a_concurrency_limit() -> None:
    # Its lease outlives a killed run by up to five minutes. The project's lock does not
    # (flows/prefect_runs.py).
    assert [deployment["name"] for deployment in DEPLOYMENTS if "concurrency_limit" in deployment] == []


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_containers_are_set_up_with_variables_that_the_pool_has_one_run_at_a_time(kind: str) -> None:
    pools = json.loads((COLLECTIONS / "aggregate-worker-metadata.json").read_text(encoding="utf-8"))
    template = pools[f"prefect-{kind}"][kind]["default_base_job_configuration"]
    if kind == "kubernetes":
        # Prefect's own, with a volume for the project.
        default, template = (
            template,
            json.loads((ROOT / "deploy/work-pool-kubernetes.json").read_text("utf-8")),
        )
        pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "{{ claim }}"
        known = template["variables"]["properties"]
        assert {key: value for key, value in known.items() if key != "claim"} == default["variables"][
            "properties"
        ]
        del pod["volumes"], pod["containers"][0]["volumeMounts"]
        assert template["job_configuration"] == default["job_configuration"]
    for deployment in _deployments(f"prefect-{kind}.yaml"):
        assert set(deployment["work_pool"]["job_variables"]) <= set(template["variables"]["properties"])
        assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_notifications_are_automations_for_events_that_exist() -> None:
    from prefect.events.schemas.automations import AutomationCore

    from flows.events import ModelPromoted, ModelRefused, RunFailed

    text = (ROOT / "deploy" / "notifications.yaml").read_text(encoding="utf-8")
    tree = yaml.safe_load(text.replace("block_document_id: BLOCK", f"block_document_id: {uuid.uuid4()}"))
    told, crashed = (AutomationCore.model_validate(automation) for automation in tree["automations"])
    assert told.trigger.expect == {ModelPromoted.name, ModelRefused.name, RunFailed.name}
    assert set(crashed.trigger.match_related["prefect.resource.name"]) == SCHEDULED


def test_automations_wait_longer_than_a_heartbeat() -> None:
    from prefect.events.schemas.automations import AutomationCore
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY

    from flows.retrain import SKIPPED

    tree = yaml.safe_load((ROOT / "deploy" / "automations.yaml").read_text(encoding="utf-8"))
    triggers = {automation["name"]: automation["trigger"] for automation in tree["automations"]}
    for automation in tree["automations"]:
        AutomationCore.model_validate(automation)
        assert set(automation["trigger"]["match_related"]["prefect.resource.name"]) == SCHEDULED
        assert automation["trigger"]["within"] >= 3 * PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value()
    # A run that has ended, or waits for a person, must not be marked as crashed.
    own = {str(SKIPPED.name), "Refused", "NotApproved"}
    ends = {"Completed", "Failed", "Cancelled", "Crashed", "Paused", *own}
    expected = {"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{end}" for end in ends)}
    assert set(triggers["tokensieve-killed"]["expect"]) == expected
