"""A user's own prefect.yaml is checked before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flows.up.deployments import load, packed, read, write
from flows.up.schedules import check_deployments
from tokensieve.errors import InputError
from tokensieve.project import Layout


def test_the_packed_deployments_pass() -> None:
    check_deployments(packed("prefect.yaml"), read(packed("prefect.yaml"))["deployments"])


@pytest.mark.parametrize(
    "keys",
    [
        "schedules: [{cron: 30 6 * * 1-5, timezone: Europe/Berlin, active: false}]",
        "schedules: [{cron: '@daily', interval: null, timezone: null}]",
        "schedules: [{interval: 0.5}, {interval: PT15M}, {interval: '00:15:00'}]",
        "schedules: [{interval: 900, anchor_date: '2026-01-01T06:00:00'}]",
        "schedules: [{rrule: FREQ=WEEKLY;BYDAY=MO, slug: mondays}]",
        "schedules: [{cron: '{{ $CRON }}', timezone: '{{ prefect.variables.zone }}'}]",
        "{schedules: null, triggers: null, parameters: null, schedule: null}",
        "schedule: {cron: 0 3 * * *}",
    ],
)
def test_what_prefect_takes_passes(keys: str) -> None:
    check_deployments(Path("prefect.yaml"), [{"name": "weekly"} | yaml.safe_load(keys)])


@pytest.mark.parametrize(
    ("deployment", "words"),
    [
        ("entrypoint: flows/retrain.py:retrain", "the name of deployment 2 is missing"),
        ("name: 7", "the name of deployment 2 is '7'; allowed: a text"),
        ("{name: a, parameters: [x]}", "parameters is not a mapping"),
        ("{name: a, triggers: [x]}", "triggers is not a list of mappings"),
        ("{name: a, schedules: {cron: 0 3 * * *}}", "schedules is not a list"),
        ("{name: a, schedule: 0 3 * * *}", "schedule is not a mapping"),
        ("{name: a, schedule: {cron: nonsense}}", "cron is 'nonsense'"),
        ("{name: a, schedules: [{cron: 0 25 * * *}]}", "cron is '0 25 * * *'; allowed: minute, hour"),
        ("{name: a, schedules: [{cron: 5}]}", "cron is '5'; allowed"),
        ("{name: a, schedules: [{cron: 0 3 * * *, timezone: Berlin}]}", "timezone is 'Berlin'"),
        ("{name: a, schedules: [{cron: 0 3 * * *, tz: UTC}]}", "the key 'tz'; allowed: cron"),
        ("{name: a, schedules: [{interval: 15m}]}", "interval is '15m'; allowed: seconds above 0"),
        ("{name: a, schedules: [{interval: 0}]}", "interval is '0'"),
        ("{name: a, schedules: [{interval: .inf}]}", "interval is 'inf'"),
        ("{name: a, schedules: [{rrule: nonsense}]}", "rrule is 'nonsense'"),
        (
            "{name: a, schedules: [{interval: 9, anchor_date: 2024-01-01T00:00:00}]}",
            "anchor_date is '2024-01-01 00:00:00'; allowed: a time in quotes",
        ),
        ("{name: a, schedules: [{on: 0 3 * * *}]}", "the key 'True'; allowed: cron"),
        ("{name: a, schedules: [{}]}", "a schedule has no key; give one of cron"),
        ("{name: a, schedules: [{cron: 0 3 * * *, interval: 900}]}", "has the keys cron, interval"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(deployment: str, words: str) -> None:
    deployments = [{"name": "first"}, yaml.safe_load(deployment)]
    with pytest.raises(InputError) as raised:
        check_deployments(Path("/srv/prefect.yaml"), deployments)
    assert str(raised.value).startswith("/srv/prefect.yaml: ")
    assert words in str(raised.value)


def test_a_projects_own_file_is_checked(tmp_path: Path) -> None:
    own = "deployments: [{name: weekly, schedules: [{cron: 0 25 * * *}]}]"
    (tmp_path / "prefect.yaml").write_text(own, encoding="utf-8")
    with pytest.raises(InputError, match="deployment 'weekly': cron is"):
        load(Layout(tmp_path))


def test_empty_lists_are_none_and_rules_are_shown(tmp_path: Path) -> None:
    own = (
        "deployments: [{name: a, schedules: null, triggers: null, parameters: null}, "
        "{name: b, schedules: [{rrule: FREQ=DAILY}]}, {name: c, schedule: {interval: 60}}]"
    )
    (tmp_path / "prefect.yaml").write_text(own, encoding="utf-8")
    (tmp_path / "up").mkdir()
    described = write(Layout(tmp_path), None, None, tmp_path / "up")
    assert described == ["a (on request)", "b (FREQ=DAILY UTC)", "c (every 60 s)"]
