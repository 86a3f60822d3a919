"""Check that entry points, parameters, flows and states in prefect.yaml and automations.yaml exist."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = yaml.safe_load((ROOT / "deploy" / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_deployments_call_flows_with_valid_parameters(deployment: dict) -> None:  # type: ignore[type-arg]
    path, name = deployment["entrypoint"].split(":")
    assert (ROOT / path).exists()
    flow = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert set(deployment["parameters"]) <= set(inspect.signature(flow.fn).parameters)
    flow.validate_parameters(deployment["parameters"])


def test_no_deployment_has_a_concurrency_limit() -> None:
    # Its lease outlives a killed run by up to five minutes. The project's lock does not (flows/prefect_runs.py).
    assert [deployment["name"] for deployment in DEPLOYMENTS if "concurrency_limit" in deployment] == []


def test_automations_wait_longer_than_a_heartbeat() -> None:
    from prefect.events.schemas.automations import AutomationCore
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY

    from flows.retrain import SKIPPED, retrain

    tree = yaml.safe_load((ROOT / "deploy" / "automations.yaml").read_text(encoding="utf-8"))
    triggers = {automation["name"]: automation["trigger"] for automation in tree["automations"]}
    for automation in tree["automations"]:
        AutomationCore.model_validate(automation)
        assert automation["trigger"]["match_related"]["prefect.resource.name"] == retrain.name
        assert automation["trigger"]["within"] >= 3 * PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value()
    # A run that has ended must not be marked as crashed.
    ends = {"Completed", "Failed", "Cancelled", "Crashed", str(SKIPPED.name)}
    expected = {"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{end}" for end in ends)}
    assert set(triggers["tokensieve-killed"]["expect"]) == expected
