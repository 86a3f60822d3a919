"""Promote a version to champion, and roll back to an earlier champion."""

from __future__ import annotations

import re
from typing import Any

from tasks.projects import moved_project
from tasks.promotion.history import champions, history, record_move, rolled_back, same_model_marks
from tasks.tracking.registered_files import open_editor, served_manifest
from tokensieve.errors import InputError, excerpt
from tokensieve.project import Layout
from tokensieve.registry.project_identity import Identity, identity
from tokensieve.registry.store import NUMBER, RegistryEditor, check_database, tracking_uri
from tokensieve.settings import Settings

CHAMPION, CHALLENGER = "champion", "challenger"
PROJECT = "tokensieve.project"  # tag of a run and a version: the id of its project
# Metrics of a run that a promotion shows.
FIGURES = (
    "test_accuracy",
    "test_exact_match",
    "test_macro_f1",
    "test_micro_f1",
    "test_ece",
)


def promote(
    layout: Layout,
    settings: Settings,
    version: str | None = None,
    reason: str | None = None,
    other_project: bool = False,
) -> dict[str, Any]:
    """Make `version`, by default the challenger, the champion.

    Returns:
        Name, version, the version that it replaced (None for the first champion), the figures of
        both, and whether both have the same data.

    Raises:
        InputError: If the registry, the model, the version or its files do not exist; if the
            version, or another one of the same run or artifacts, was rolled back and `version` and
            `reason` are not both given; or if another project registered it, unless `other_project`
            is set.
    """
    own, store = identity(layout, settings), _opened(layout, settings)
    name, aliases = own.model, _aliases(store, own.model)
    number = _challenger(store, name, aliases) if version is None else _number(store, name, version)
    found = store.version(name, number) if re.fullmatch(NUMBER, number) else None
    if found is None:
        raise InputError(
            f"model '{name}' has no version {excerpt(number)}; versions: {_versions(store, name)}"
        )
    tags = store.version_tags(name, number)
    if not other_project:
        _check_project(store, own, number, tags)
    moves = history(store.tags(name))
    _check_not_rolled_back(
        moves, same_model_marks(store, name, number, moves), number, bool(version and reason)
    )
    if served_manifest(store, found) is None:
        raise InputError(
            f"version {number} of model '{name}' has no manifest.json, or a file that it lists is missing; "
            "its files were moved"
        )
    replaced = aliases.get(CHAMPION)
    if number != replaced:
        # First the alias: if the process is killed before the record, a rollback still finds the
        # champion before it.
        store.set_alias(name, CHAMPION, number)
        record_move(store, name, "promote", number, replaced, moves, reason)
    return _moved(store, name, number, replaced)


def rollback(layout: Layout, settings: Settings) -> dict[str, Any]:
    """Make the previous champion that still exists, with its files, the champion.

    Returns:
        As `promote`, with the earlier champions that do not exist any more in `skipped`.

    Raises:
        InputError: If the registry or the model does not exist, or if no earlier champion is left.
    """
    own, store = identity(layout, settings), _opened(layout, settings)
    name, skipped = own.model, list[str]()
    replaced = _aliases(store, name).get(CHAMPION)
    moves = history(store.tags(name))
    before = champions(moves)
    for number in reversed(before):
        if number == replaced or number in skipped:
            continue
        found = store.version(name, number)
        if found is None or served_manifest(store, found) is None:
            skipped.append(number)
            continue
        # First the record: if the process is killed before the alias moves, the next rollback goes
        # to the same version. A deleted champion has no alias any more, but it is in the record.
        record_move(
            store, name, "rollback", number, replaced or (before[-1] if before[-1] != number else None), moves
        )
        store.set_alias(name, CHAMPION, number)
        return _moved(store, name, number, replaced) | {"skipped": skipped}
    gone = f" (deleted or without files: {', '.join(skipped)})" if skipped else ""
    raise InputError(
        f"model '{name}' has no earlier champion{gone}; promote a version by its number: "
        f"{_versions(store, name)}"
    )


def _opened(layout: Layout, settings: Settings) -> RegistryEditor:
    """Return the project's registry.

    Raises:
        InputError: If there is none.
    """
    uri = tracking_uri(layout, settings)
    moved_project.follow(layout, uri)
    check_database(uri)
    store = open_editor(uri)
    if store is None:
        raise InputError(
            f"{uri} is empty; register a model first, or set register.uri or MLFLOW_TRACKING_URI"
        )
    return store


def _aliases(store: RegistryEditor, name: str) -> dict[str, str]:
    aliases = store.aliases(name)
    if aliases is None:
        raise InputError(
            f"no model {excerpt(name)} in the registry; models: {', '.join(store.models()) or 'none'}"
        )
    return aliases


def _challenger(store: RegistryEditor, name: str, aliases: dict[str, str]) -> str:
    if CHALLENGER not in aliases:
        known = ", ".join(f"{alias} ({version})" for alias, version in sorted(aliases.items())) or "none"
        raise InputError(
            f"model '{name}' has no alias '{CHALLENGER}'; aliases: {known}; versions: "
            f"{_versions(store, name)}"
        )
    return aliases[CHALLENGER]


def _number(store: RegistryEditor, name: str, version: str) -> str:
    """Return `version`.

    Raises:
        InputError: If it is not written as the registry writes numbers: the history names versions
            so.
    """
    if not re.fullmatch(NUMBER, version):
        raise InputError(
            f"version is {excerpt(version)}; allowed: digits 0 to 9, at most ten, the first not 0; "
            f"versions of model '{name}': {_versions(store, name)}"
        )
    return version


def _versions(store: RegistryEditor, name: str) -> str:
    return ", ".join(map(str, sorted(map(int, store.versions(name))))) or "none"


def _check_project(store: RegistryEditor, own: Identity, number: str, tags: dict[str, str]) -> None:
    """Raise InputError if another project registered a version.

    A version without a project (earlier versions) passes.
    """
    other = tags.get(PROJECT)
    if other and other != own.project:
        ours = [
            known
            for known in store.versions(own.model)
            if store.version_tags(own.model, known).get(PROJECT) == own.project
        ]
        newest = f"--version {max(map(int, ours))} is this project's newest; " if ours and own.project else ""
        raise InputError(
            f"version {number} of model '{own.model}' was registered by project {excerpt(other)}, "
            f"not by this one; {newest}set register.name to keep the two apart, "
            "or use --other-project to promote it anyway"
        )


def _check_not_rolled_back(
    moves: list[dict[str, Any]], same: list[str], number: str, confirmed: bool
) -> None:
    """Raise InputError if a version of the same model was rolled back, unless `confirmed`."""
    for other, move in rolled_back(moves).items():
        if not confirmed and {number, *same} & {other, *move.get("replaced_same", [])}:
            which = "was" if other == number else f"is the same model as version {other}, which was"
            raise InputError(
                f"version {number} {which} rolled back at {move['at']}; to promote it again, "
                "give its number and a reason: "
                f'--version {number} --reason "..."'
            )


def _moved(store: RegistryEditor, name: str, version: str, replaced: str | None) -> dict[str, Any]:
    hashes = [
        store.version_tags(name, number).get("data_hash") if number else None
        for number in (version, replaced)
    ]
    return {
        "name": name,
        "version": version,
        "replaced": replaced,
        "figures": _figures(store, name, version),
        "replaced_figures": _figures(store, name, replaced),
        "same_data": hashes[0] == hashes[1] if all(hashes) else None,
        "skipped": [],
    }


def _figures(store: RegistryEditor, name: str, version: str | None) -> dict[str, float]:
    found = store.version(name, version) if version else None
    metrics = store.metrics(found.run_id) if found and found.run_id else {}
    return {key: metrics[key] for key in FIGURES if key in metrics}
