"""All registered models with their versions, and the versions that a project's aliases name."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from tasks.promotion.checks import PROJECT
from tasks.promotion.gate import OUTCOME
from tasks.promotion.promote import figures_of
from tokensieve.registry.store import RegistryEditor


@dataclass(frozen=True)
class VersionFacts:
    """What the registry has about a version of a model.

    Attributes:
        aliases: The aliases that name it, sorted.
        figures: Its metrics on the test texts that a promotion shows.
        data_hash: The hash of its data. Empty if unknown.
        date: When it was registered (UTC, ISO 8601).
        run: The id of the run that made it. Empty if none did.
        project: The id of the project that registered it. Empty if unknown.
        gate: The outcome of the gate at the end of its run. Empty if there was none.
    """

    model: str
    version: str
    aliases: tuple[str, ...]
    figures: dict[str, float] = field(default_factory=dict)
    data_hash: str = ""
    date: str = ""
    run: str = ""
    project: str = ""
    gate: str = ""


def all_models(store: RegistryEditor) -> dict[str, list[VersionFacts]]:
    """Return the versions of each registered model, newest first.

    A model without versions has an empty list.
    """
    return {name: versions_of(store, name) for name in sorted(store.models())}


def versions_of(store: RegistryEditor, name: str) -> list[VersionFacts]:
    """Return the versions of a model, newest first."""
    aliases = store.aliases(name) or {}
    found = (version_facts(store, name, number, aliases) for number in sorted(store.versions(name), key=int))
    return [facts for facts in found if facts][::-1]


def version_facts(
    store: RegistryEditor, name: str, number: str, aliases: dict[str, str]
) -> VersionFacts | None:
    """Return what the registry has about a version. None: there is no such version."""
    found = store.version(name, number)
    if found is None:
        return None
    tags = store.version_tags(name, number)
    created = datetime.fromtimestamp(found.created / 1000, UTC)
    return VersionFacts(
        model=name,
        version=number,
        aliases=tuple(sorted(alias for alias, version in aliases.items() if version == number)),
        figures=figures_of(store.run(found.run_id)),
        data_hash=tags.get("data_hash", ""),
        date=created.isoformat(timespec="seconds"),
        run=found.run_id,
        project=tags.get(PROJECT, ""),
        gate=tags.get(OUTCOME, ""),
    )
