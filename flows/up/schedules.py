"""Check the deployments of a user's own prefect.yaml before anything starts.

Prefect reports a wrong one after its server has started, in the words of its schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from tokensieve.errors import InputError, excerpt

KINDS = ("cron", "interval", "rrule")
KEYS = (*KINDS, "timezone", "anchor_date", "active", "parameters", "slug", "replaces", "day_or")
ALLOWED = {
    "cron": 'minute, hour, day, month and day of the week, such as "0 3 * * *" for 03:00 every day',
    "interval": "seconds above 0, such as 900",
    "rrule": "a rule of RFC 5545, such as FREQ=WEEKLY;BYDAY=MO",
    "timezone": "names such as UTC or Europe/Berlin",
    "anchor_date": 'a time in quotes, such as "2026-01-01T06:00:00"',
}


def check_deployments(path: Path, deployments: list[dict[str, Any]]) -> None:
    """Check names, parameters, triggers and schedules of the deployments in the file `path`.

    Raises:
        InputError: If one is wrong. The message has the deployment, the key and what is allowed.
    """
    for number, deployment in enumerate(deployments, 1):
        name = deployment.get("name")
        if not isinstance(name, str) or not name:
            value = "missing" if name is None else excerpt(str(name))
            raise InputError(
                f"{path}: the name of deployment {number} is {value}; allowed: a text, such as weekly"
            )
        start = f"{path}: deployment {excerpt(name)}"
        if not isinstance(deployment.get("parameters") or {}, dict):
            raise InputError(f"{start}: parameters is not a mapping; write KEY: VALUE, one per line")
        for key in ("schedules", "triggers"):
            if not _is_list_of_mappings(deployment.get(key) or []):
                raise InputError(
                    f"{start}: {key} is not a list of mappings; write - KEY: VALUE, one per line"
                )
        single = deployment.get("schedule") or {}
        if not isinstance(single, dict):
            raise InputError(f"{start}: schedule is not a mapping; write schedules, with a list")
        for schedule in [*(deployment.get("schedules") or []), *([single] if single else [])]:
            _check_schedule(start, schedule)


def _is_list_of_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(found, dict) for found in value)


def _check_schedule(start: str, schedule: Mapping[Any, Any]) -> None:
    unknown = [str(key) for key in schedule if key not in KEYS]
    if unknown:
        raise InputError(f"{start}: a schedule has the key {excerpt(unknown[0])}; allowed: {', '.join(KEYS)}")
    given = {key: value for key, value in schedule.items() if value is not None}
    if sum(kind in given for kind in KINDS) != 1:
        raise InputError(f"{start}: a schedule has {_listed(given)}; give one of {', '.join(KINDS)}")
    for key in ALLOWED.keys() & given.keys():
        value = given[key]
        # Prefect fills in {{ $NAME }} and other templates later.
        if not (isinstance(value, str) and "{{" in value) and not _is_allowed(key, value):
            raise InputError(f"{start}: {key} is {excerpt(str(value))}; allowed: {ALLOWED[key]}")


def _listed(given: Mapping[str, Any]) -> str:
    return f"the keys {', '.join(given)}" if given else "no key"


def _is_allowed(key: str, value: Any) -> bool:
    """Return whether Prefect takes the value of this key of a schedule."""
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

    try:
        if key == "interval":
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return bool(IntervalSchedule(interval=timedelta(seconds=value) if is_number else value))
        if not isinstance(value, str):
            return False
        if key == "cron":
            return bool(CronSchedule(cron=value))
        if key == "timezone":
            return bool(CronSchedule(cron="0 0 * * *", timezone=value))
        # A rule may also be a JSON object, with its time zone.
        return key != "rrule" or value.lstrip().startswith("{") or bool(RRuleSchedule(rrule=value))
    except (ValueError, TypeError, OverflowError):
        return False
