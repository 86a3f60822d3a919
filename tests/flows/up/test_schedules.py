"""A user's own prefect.yaml is checked before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.up.deployments import packed, read
from flows.up.schedules import check_deployments
from tokensieve.errors import InputError


def test_the_packed_deployments_pass() -> None:
    check_deployments(packed("prefect.yaml"), read(packed("prefect.yaml"))["deployments"])


@pytest.mark.parametrize(
    "schedule",
    [
        {"cron": "30 6 * * 1-5", "timezone": "Europe/Berlin"},
        {"cron": "@daily"},
        {"interval": 0.5},
        {"rrule": "FREQ=WEEKLY;BYDAY=MO", "active": False},
    ],
)
def test_a_schedule_that_prefect_takes_passes(schedule: dict[str, Any]) -> None:
    check_deployments(Path("prefect.yaml"), [{"name": "weekly", "schedules": [schedule]}])


@pytest.mark.parametrize(
    ("deployment", "words"),
    [
        ("entrypoint: flows/retrain.py:retrain", "deployment 2 has no name"),
        ("name: 3", "deployment 2 has no name"),
        ("{name: a, parameters: [x]}", "parameters is not a mapping"),
        ("{name: a, schedules: {cron: 0 3 * * *}}", "schedules is not a list"),
        ("{name: a, schedules: null}", "schedules is not a list"),
        ("{name: a, schedules: [{cron: 0 25 * * *}]}", "cron is '0 25 * * *'; allowed: minute, hour"),
        ("{name: a, schedules: [{cron: 5}]}", "cron is '5'; allowed"),
        ("{name: a, schedules: [{cron: 0 3 * * *, timezone: Berlin}]}", "timezone is 'Berlin'"),
        ("{name: a, schedules: [{cron: 0 3 * * *, timezone: ../../etc/passwd}]}", "timezone is"),
        ("{name: a, schedules: [{interval: 15m}]}", "interval is '15m'; allowed: seconds above 0"),
        ("{name: a, schedules: [{interval: 0}]}", "interval is '0'"),
        ("{name: a, schedules: [{corn: 0 3 * * *}]}", "has the keys corn; give one of cron"),
        ("{name: a, schedules: [{cron: 0 3 * * *, interval: 900}]}", "has the keys cron, interval"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(deployment: str, words: str) -> None:
    deployments = [{"name": "first"}, yaml.safe_load(deployment)]
    with pytest.raises(InputError) as raised:
        check_deployments(Path("/srv/prefect.yaml"), deployments)
    assert str(raised.value).startswith("/srv/prefect.yaml: deployment ")
    assert words in str(raised.value)
