"""Where a registered version comes from: run, commit, settings, packages and data."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.promotion.history import REFUSE
from tasks.promotion.models import VersionFacts, version_facts
from tasks.promotion.promote import COMMIT, LOCK
from tasks.promotion.record import DONE, Record, read_record
from tasks.promotion.registry_lookups import existing_aliases, existing_version, known_versions, open_registry
from tasks.versioning.data_versions import find_data_version
from tokensieve.errors import InputError, excerpt
from tokensieve.project import Layout
from tokensieve.registry.project_identity import identity
from tokensieve.registry.store import NUMBER, RegistryEditor
from tokensieve.settings import Settings

ADDRESS = rf"(?:models:/)?(?P<name>[^/@]+)/(?P<number>{NUMBER})"
HASH = r"[0-9a-f]{8,32}(\.dir)?"
ENVIRONMENT = "environment."  # parameters of a run: versions of packages, and the processor


@dataclass(frozen=True)
class Lineage:
    """Where a registered version comes from. What the registry does not have is empty.

    Attributes:
        version: Name, number, aliases, scores, data hash, date and run.
        commit: The project's git commit.
        changed: The files that differed from the commit.
        lock_hash: The SHA-256 of dvc.lock as it is logged with the run.
        data_rows: Rows per part of the data.
        data_source: Where the data came from.
        data_date: When they were added (UTC, ISO 8601).
        settings: All settings, as section.key.
        packages: The versions of Python and its packages, the processor and the device.
        moves: The promotions and rollbacks to and from this version, oldest first: when, what, why.
    """

    version: VersionFacts
    commit: str
    changed: str
    lock_hash: str
    data_rows: dict[str, int]
    data_source: str
    data_date: str
    settings: dict[str, str]
    packages: dict[str, str]
    moves: tuple[str, ...]


def lineage(layout: Layout, settings: Settings, wanted: str) -> Lineage:
    """Return where a version comes from.

    Args:
        layout: The project.
        settings: They name the registry and the model.
        wanted: The number of a version of the project's model, NAME/NUMBER, or the data hash of an
            answer, or at least eight of its first characters.

    Raises:
        InputError: If there is no such version, or more than one has these data.
    """
    store = open_registry(layout, settings)
    name, number = find_version(store, identity(layout, settings).model, wanted)
    facts = version_facts(store, name, number, existing_aliases(store, name))
    assert facts  # find_version has found it
    run = store.run(facts.run)
    tags, params = (run.tags, run.params) if run else ({}, {})
    data = find_data_version(layout, facts.data_hash)
    return Lineage(
        version=facts,
        commit=tags.get(COMMIT, ""),
        changed=tags.get("tokensieve.git.changed", ""),
        lock_hash=tags.get(LOCK, ""),
        data_rows=data.rows if data else {},
        data_source=data.source if data else "",
        data_date=data.date if data else "",
        settings={key: value for key, value in sorted(params.items()) if not key.startswith(ENVIRONMENT)},
        packages={
            key.removeprefix(ENVIRONMENT): value
            for key, value in sorted(params.items())
            if key.startswith(ENVIRONMENT)
        },
        moves=tuple(_moves(read_record(store, name), number)),
    )


def find_version(store: RegistryEditor, model: str, wanted: str) -> tuple[str, str]:
    """Return the name and the number of the version that `wanted` names, as `lineage` describes it.

    Raises:
        InputError: If there is none, or more than one.
    """
    if re.fullmatch(HASH, wanted) and not re.fullmatch(NUMBER, wanted):
        return model, _version_with_data(store, model, wanted)
    if match := re.fullmatch(ADDRESS, wanted):
        model, wanted = match["name"], match["number"]
    existing_aliases(store, model)
    existing_version(store, model, wanted)
    return model, wanted


def _version_with_data(store: RegistryEditor, model: str, wanted: str) -> str:
    existing_aliases(store, model)
    matching = [
        number
        for number in store.versions(model)
        if store.version_tags(model, number).get("data_hash", "").startswith(wanted)
    ]
    if len(matching) != 1:
        found = ", ".join(sorted(matching, key=int)) or f"none; versions: {known_versions(store, model)}"
        raise InputError(
            f"versions of model '{model}' whose data hash begins with {excerpt(wanted)}: {found}; give the "
            "number of a version"
        )
    return matching[0]


def _moves(record: Record, number: str) -> list[str]:
    return [
        f"{move.at} {move.action} "
        + ("" if move.action == REFUSE else f"{move.from_version or 'none'} to ")
        + move.to_version
        + (f" by {move.user} on {move.host}" if move.user else "")
        + (f": {move.reason}" if move.reason else "")
        for move in (*record.earlier, *(known.entry for known in record.entries if known.outcome == DONE))
        if number in (move.from_version, move.to_version)
    ]
