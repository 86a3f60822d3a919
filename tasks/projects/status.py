"""The state of a project: data, last registration, champion, what is stale, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.artifacts import Registration
from tasks.projects.last_look import FLOWS, LastLook, last_look
from tasks.projects.last_run import LastRun, last_run
from tasks.promotion.gate_report import REFUSED
from tasks.promotion.history import rolled_back
from tasks.promotion.models import VersionFacts, version_facts
from tasks.promotion.move_champion import CHAMPION, PREVIOUS
from tasks.promotion.promote import CHALLENGER
from tasks.promotion.record import Record
from tasks.promotion.registry_lookups import open_registry
from tasks.promotion.shown_record import recovered_record
from tasks.versioning.data_versions import DataVersion, data_hash, data_versions
from tasks.versioning.dvc_pipeline import is_unchanged, stage_names
from tasks.versioning.dvc_repo import opened
from tokensieve.errors import InputError
from tokensieve.files import holder
from tokensieve.project import Layout
from tokensieve.registry.project_identity import identity
from tokensieve.registry.store import RegistryEditor, tracking_uri, without_password
from tokensieve.settings import Settings

ALIASES = (CHALLENGER, CHAMPION, PREVIOUS)


@dataclass(frozen=True)
class Status:
    """The state of a project.

    Attributes:
        folder: The project's folder.
        model: The name of its registered model.
        registry: The registry's address, without a password.
        data: The present version of the raw data. None: there are no data.
        registered: The version that the last run registered. Empty: none was.
        registered_at: When (UTC, ISO 8601).
        versions: The version of each alias that exists.
        stale: The stages whose inputs have changed since they ran, and those after them.
        running_since: Since when a run of the project is under way (UTC, ISO 8601). Empty: none is.
        running_step: What it does.
        last_run: How the last run went. None: there was none, or an earlier version ran it.
        last_looks: How the last look of the flows watch and monitor went, of those that have run.
        fault: What is wrong with the registry or the record. Empty: nothing.
        advice: What to do next, as sentences with a command.
    """

    folder: str
    model: str
    registry: str
    data: DataVersion | None
    registered: str
    registered_at: str
    versions: dict[str, VersionFacts]
    stale: tuple[str, ...]
    running_since: str
    running_step: str
    last_run: LastRun | None
    last_looks: dict[str, LastLook]
    fault: str
    advice: tuple[str, ...]


def project_status(layout: Layout, settings: Settings, project: str) -> Status:
    """Return the state of a project. `project` is the value of --project.

    A registry that is missing or does not respond is named in `fault`: the rest is still of use.
    """
    data = _present_data(layout)
    stale = _stale_stages(layout) if data else ()
    registered, registered_at = _last_registration(layout)
    running = holder(layout.busy)
    name = identity(layout, settings).model
    versions: dict[str, VersionFacts] = {}
    fault, undone = "", set[str]()
    try:
        store = open_registry(layout, settings)
        versions, record = _aliased(store, name)
        fault = record.fault if record else ""
        undone = set(rolled_back(record.moves)) if record else undone
    except InputError as error:
        fault = str(error) if registered else ""
    run = last_run(layout)
    why_failed = run.reason if run else ""
    return Status(
        str(layout.root),
        name,
        without_password(tracking_uri(layout, settings)),
        data,
        registered,
        registered_at,
        versions,
        stale,
        _utc(running.since) if running else "",
        running.step if running else "",
        run,
        {flow: look for flow in FLOWS if (look := last_look(layout, flow))},
        fault,
        () if running else tuple(_advice(data, stale, versions, undone, project, why_failed)),
    )


def _present_data(layout: Layout) -> DataVersion | None:
    try:
        present = data_hash(layout)
    except InputError:
        return None
    known = (version for version in data_versions(layout) if version.data_hash == present)
    return next(known, DataVersion(present, "", "", {}))


def _stale_stages(layout: Layout) -> tuple[str, ...]:
    with opened(layout) as repo:
        names = stage_names(layout)
        first = next((i for i, name in enumerate(names) if not is_unchanged(layout, repo, name)), len(names))
    return tuple(names[first:])


def _last_registration(layout: Layout) -> tuple[str, str]:
    """Return the version that the last run registered, and when. Both are empty if none was."""
    try:
        registration = Registration.load(layout.registration)
    except InputError:
        return "", ""
    return registration.version, _utc((layout.registration / Registration.NAME).stat().st_mtime)


def _utc(seconds: float) -> str:
    """Return a Unix time in ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _aliased(store: RegistryEditor, name: str) -> tuple[dict[str, VersionFacts], Record | None]:
    aliases = store.aliases(name)
    if aliases is None:
        return {}, None
    found = {
        alias: version_facts(store, name, aliases[alias], aliases) for alias in ALIASES if alias in aliases
    }
    return {alias: facts for alias, facts in found.items() if facts}, recovered_record(store, name)


def _advice(
    data: DataVersion | None,
    stale: tuple[str, ...],
    versions: dict[str, VersionFacts],
    undone: set[str],
    project: str,
    why_failed: str = "",
) -> Iterator[str]:
    """Yield what to do next.

    `undone` are the versions that were rolled back, and `why_failed` is why the last run failed.
    """
    where = "" if project == "." else f" --project {shlex.quote(project)}"
    challenger, champion = versions.get(CHALLENGER), versions.get(CHAMPION)
    if data is None:
        yield f"add data and train: tokensieve run{where} --data PATH"
    elif stale and why_failed:
        # A run that failed has undone its --set.
        yield "correct why the last run failed, then repeat its command with all its options"
    elif stale:
        yield f"train on what has changed: tokensieve run{where}"
    elif (
        challenger
        and champion
        and challenger.version not in {champion.version, *undone}
        and challenger.gate == REFUSED
    ):
        yield f"the gate refused version {challenger.version}: improve the data or the settings and run again"
    elif (
        challenger
        and challenger.version not in undone
        and (champion is None or int(challenger.version) > int(champion.version))
    ):
        yield f"make version {challenger.version} the champion: tokensieve promote{where}"
    elif champion:
        yield f"serve the champion: tokensieve serve{where} --model models:/{champion.model}@{CHAMPION}"
