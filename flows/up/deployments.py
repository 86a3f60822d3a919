"""The deployments of a project: the template, with the project and its data filled in."""

from __future__ import annotations

import copy
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from flows.events import resource
from flows.up.schedules import check_deployments
from tokensieve.errors import InputError
from tokensieve.files import write_text
from tokensieve.project import Layout

POOL = "tokensieve"
NAME = "prefect.yaml"
AUTOMATIONS, NOTIFICATIONS = "automations.yaml", "notifications.yaml"
WATCH, MONITOR = "watch", "monitor"  # the deployments that look at the data, and for drift


def template(layout: Layout) -> Path:
    """Return the project's own prefect.yaml, or else the one of this package."""
    own: Path = layout.root / NAME
    # The repository of this package is a project, too.
    return own if own.exists() else packed(NAME)


def packed(name: str) -> Path:
    """Return a file of deploy/, which an installed package has here."""
    found = Path(str(files("flows.up") / name))
    return found if found.exists() else found.parents[2] / "deploy" / name


def read(path: Path) -> dict[str, Any]:
    """Return the content of a prefect.yaml.

    Raises:
        InputError: If it is not YAML, or has no deployments.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML ({' '.join(str(error).split())}); correct it") from None
    deployments = tree.get("deployments") if isinstance(tree, dict) else None
    if not isinstance(deployments, list) or not all(isinstance(found, dict) for found in deployments):
        raise InputError(f"{path} has no list 'deployments'; see the example in the documentation")
    return dict(tree)


def load(layout: Layout) -> dict[str, Any]:
    """Return the content of the project's own prefect.yaml, or else of the one of this package.

    Raises:
        InputError: If the project's own is wrong.
    """
    file = template(layout)
    tree = read(file)
    if file != packed(NAME):
        check_deployments(file, tree["deployments"])
    return tree


def filled(
    tree: dict[str, Any], project: Path, data: str | None, test: str | None, log_texts: str | None = None
) -> dict[str, Any]:
    """Return the deployments with the project, its data and its events filled in.

    Without data, nothing is watched. Without a log of texts, nothing looks for drift.

    Args:
        tree: The content of a prefect.yaml.
        project: The project's folder, absolute.
        data: The address for the parameter `data`. None: the template's address is removed.
        test: The same for the parameter `test`.
        log_texts: The file to which the server writes texts. None: the template's file and its
            schedules, which are not active, stay.
    """
    tree = copy.deepcopy(tree)
    for deployment in tree["deployments"]:
        parameters = deployment["parameters"] = deployment.get("parameters") or {}
        if "project" in parameters:
            parameters["project"] = str(project)
        if "log" in parameters and log_texts is not None:
            parameters["log"] = log_texts
            for schedule in _schedules(deployment):
                schedule["active"] = True
        if "data" in parameters:
            parameters["data"] = data
            if test is not None and deployment.get("name") != WATCH:
                parameters["test"] = test
        if deployment.get("name") == WATCH and data is None:
            deployment.pop("schedule", None)
            deployment["schedules"] = []
        for trigger in deployment.get("triggers") or []:
            trigger["match"] = {"prefect.resource.id": resource(project)}
    return tree


def write(
    layout: Layout, data: str | None, test: str | None, folder: Path, log_texts: str | None = None
) -> list[str]:
    """Write the project's deployments to prefect.yaml in `folder`.

    Return a line on each, for users.

    Raises:
        InputError: If the project's own prefect.yaml is wrong.
    """
    tree = filled(load(layout), layout.root, data, test, log_texts)
    write_text(folder / NAME, yaml.safe_dump(tree, sort_keys=False))
    return [_described(deployment) for deployment in tree["deployments"]]


def _schedules(deployment: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the schedules of a deployment. Prefect also reads the key `schedule`, with one."""
    return deployment.get("schedules") or [found for found in [deployment.get("schedule")] if found]


def _described(deployment: dict[str, Any]) -> str:
    """Return the name of a deployment with when it runs, and what it needs for a schedule."""
    schedules = [
        f"every {found['interval']} s"
        if found.get("interval")
        else f"{found.get('cron') or found['rrule']} {found.get('timezone', 'UTC')}"
        for found in _schedules(deployment)
        if found.get("active", True)
    ]
    needs = {WATCH: "off: needs --data", MONITOR: "off: needs --log-texts"}
    state = ", ".join(schedules) or needs.get(deployment["name"], "on request")
    return f"{deployment['name']} ({state})"
