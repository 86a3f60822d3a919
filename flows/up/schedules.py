"""Check the deployments of a user's own prefect.yaml before anything starts.

Prefect reports a wrong one after its server has started, in the words of its schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tokensieve.errors import InputError, excerpt

KINDS = ("cron", "interval", "rrule")


def check_deployments(path: Path, deployments: list[dict[str, Any]]) -> None:
    """Check the names, parameters and schedules of the deployments in the file `path`.

    Raises:
        InputError: If one is wrong. The message has the deployment, the key and what is allowed.
    """
    for number, deployment in enumerate(deployments, 1):
        name = deployment.get("name")
        if not isinstance(name, str) or not name:
            raise InputError(f"{path}: deployment {number} has no name; add one, such as name: weekly")
        start = f"{path}: deployment {excerpt(name)}"
        if not isinstance(deployment.get("parameters", {}), dict):
            raise InputError(f"{start}: parameters is not a mapping; write KEY: VALUE, one per line")
        schedules = deployment.get("schedules", [])
        if not isinstance(schedules, list) or not all(isinstance(found, dict) for found in schedules):
            raise InputError(f'{start}: schedules is not a list; write - cron: "0 3 * * *", one per line')
        for schedule in schedules:
            _check_schedule(start, schedule)


def _check_schedule(start: str, schedule: Mapping[str, Any]) -> None:
    if sum(kind in schedule for kind in KINDS) != 1:
        raise InputError(
            f"{start}: a schedule has the keys {', '.join(schedule) or 'none'}; give one of "
            f"{', '.join(KINDS)}"
        )
    interval = schedule.get("interval", 1)
    if isinstance(interval, bool) or not isinstance(interval, int | float) or interval <= 0:
        raise InputError(
            f"{start}: interval is {excerpt(str(interval))}; allowed: seconds above 0, such as 900"
        )
    if "timezone" in schedule and not _is_timezone(schedule["timezone"]):
        raise InputError(
            f"{start}: timezone is {excerpt(str(schedule['timezone']))}; allowed: names such as UTC or "
            "Europe/Berlin"
        )
    if "cron" in schedule and not _is_cron(schedule["cron"]):
        raise InputError(
            f"{start}: cron is {excerpt(str(schedule['cron']))}; allowed: minute, hour, day, month and day "
            'of the week, such as "0 3 * * *" for 03:00 every day'
        )


def _is_timezone(name: Any) -> bool:
    try:
        return bool(ZoneInfo(name))
    except (ValueError, OSError, TypeError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return False


def _is_cron(text: Any) -> bool:
    from prefect.client.schemas.schedules import CronSchedule

    try:
        return bool(CronSchedule(cron=text))
    except ValueError:
        return False
