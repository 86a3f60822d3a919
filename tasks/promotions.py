"""Promote a version to champion, and roll back to an earlier one. MLflow keeps no history of aliases, so it is kept here.

Each move is a tag of its own on the registered model: moves of several processes at once are all kept.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tasks.identity import Identity, identity
from tasks.served import open_store, served_manifest
from tasks.store import Editable, check_database, tracking_uri
from tokensieve.errors import InputError, excerpt
from tokensieve.layout import Layout
from tokensieve.settings import Settings

CHAMPION, CHALLENGER = "champion", "challenger"
PROJECT = "tokensieve.project"  # tag of a run and of a version: the project that made it
MOVE = "tokensieve.promotion."  # tags of a registered model, one per move: the rest of the key is its time
EARLIER = "tokensieve.promotions"  # tag of a registered model: the last moves that versions before 0.2 made, as a JSON list
FIGURES = ("test_accuracy", "test_exact_match", "test_macro_f1", "test_micro_f1", "test_ece")  # of a run's metrics


def promote(
    layout: Layout, settings: Settings, version: str | None = None, reason: str | None = None, other_project: bool = False
) -> dict[str, Any]:
    """Make `version`, by default the challenger, the champion.

    Returns name, version, the version that it replaced (None: the first), the figures of both, and whether both have the same data.

    Raises:
        InputError: If there is no such registry, model, version or challenger, or its files are gone. Or if the version was rolled
            back and `version` and `reason` are not both given. Or if it is of another project, unless `other_project`.
    """
    own, store = identity(layout, settings), _opened(layout, settings)
    name, aliases = own.model, _aliases(store, own.model)
    number = version or _challenger(store, name, aliases)
    found = store.version(name, number) if number.isdecimal() else None
    if found is None:
        raise InputError(f"model '{name}' has no version {excerpt(number)}; versions: {_versions(store, name)}")
    tags = store.version_tags(name, number)
    if not other_project:
        _check_project(store, own, number, tags)
    _check_not_rolled_back(history(store.tags(name)), number, version, reason)
    if served_manifest(store, found) is None:
        raise InputError(f"version {number} of model '{name}' has no manifest.json or lacks a file that it lists; its files were moved")
    replaced = aliases.get(CHAMPION)
    if number != replaced:
        # The alias first: if the move is not recorded, a rollback still finds the champion before it.
        store.set_alias(name, CHAMPION, number)
        _record(store, name, "promote", number, replaced, reason)
    return _moved(store, name, number, replaced)


def rollback(layout: Layout, settings: Settings) -> dict[str, Any]:
    """Make the last champion before this one that still exists, with its files, the champion. Returns as `promote`.

    `skipped` holds the earlier champions that are gone.

    Raises:
        InputError: If there is no such registry or model, or no earlier champion is left.
    """
    own, store = identity(layout, settings), _opened(layout, settings)
    name, skipped = own.model, list[str]()
    replaced = _aliases(store, name).get(CHAMPION)
    for number in reversed(champions(history(store.tags(name)))):
        if number == replaced or number in skipped:
            continue
        found = store.version(name, number)
        if found is None or served_manifest(store, found) is None:
            skipped.append(number)
            continue
        # The record first: if the alias is not moved, the next rollback goes back to the same version, not forward.
        _record(store, name, "rollback", number, replaced)
        store.set_alias(name, CHAMPION, number)
        return _moved(store, name, number, replaced) | {"skipped": skipped}
    gone = f" (deleted or without files: {', '.join(skipped)})" if skipped else ""
    raise InputError(f"no earlier champion of model '{name}' is known{gone}; promote a version by its number: {_versions(store, name)}")


def history(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the moves that a model's tags record, in order."""
    texts = [tags.get(EARLIER, "[]"), *(f"[{tags[key]}]" for key in sorted(tags) if key.startswith(MOVE))]
    return [move for text in texts for move in _moves(text)]


def champions(moves: list[dict[str, Any]]) -> list[str]:
    """Return the champions one after the other, this one last, without those that were rolled back."""
    stack: list[str] = []
    for move in moves:
        if move["action"] == "rollback":
            while stack and stack[-1] != move["version"]:
                stack.pop()
        # The alias may have been moved without a record, or the moves before may be forgotten.
        elif move["replaced"] and stack[-1:] != [move["replaced"]]:
            stack.append(move["replaced"])
        if stack[-1:] != [move["version"]]:
            stack.append(move["version"])
    return stack


def rolled_back(moves: list[dict[str, Any]]) -> dict[str, str]:
    """Return the versions that were rolled back and not promoted again, with the time of the rollback."""
    found: dict[str, str] = {}
    for move in moves:
        if move["action"] == "rollback" and move["replaced"]:
            found[move["replaced"]] = move["at"]
        found.pop(move["version"], None)
    return found


def _moves(text: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return [move for move in found if isinstance(move, dict) and {"at", "action", "version", "replaced"} <= move.keys()]


def _record(store: Editable, name: str, action: str, version: str, replaced: str | None, reason: str | None = None) -> None:
    now = datetime.now(UTC)
    move = {"at": now.isoformat(timespec="seconds"), "action": action, "version": version, "replaced": replaced}
    key = f"{MOVE}{now:%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(3)}"
    store.set_tag(name, key, json.dumps(move | ({"reason": reason[:1000]} if reason else {})))


def _opened(layout: Layout, settings: Settings) -> Editable:
    uri = tracking_uri(layout, settings)
    check_database(uri)
    store = open_store(uri)
    if store is None:
        raise InputError(f"{uri} is empty; register a model first, or set register.uri or MLFLOW_TRACKING_URI")
    return store


def _aliases(store: Editable, name: str) -> dict[str, str]:
    aliases = store.aliases(name)
    if aliases is None:
        raise InputError(f"no model {excerpt(name)} in the registry; models: {', '.join(store.models()) or 'none'}")
    return aliases


def _challenger(store: Editable, name: str, aliases: dict[str, str]) -> str:
    if CHALLENGER not in aliases:
        known = ", ".join(f"{alias} ({version})" for alias, version in sorted(aliases.items())) or "none"
        raise InputError(f"model '{name}' has no alias '{CHALLENGER}'; aliases: {known}; versions: {_versions(store, name)}")
    return aliases[CHALLENGER]


def _versions(store: Editable, name: str) -> str:
    return ", ".join(map(str, sorted(map(int, store.versions(name))))) or "none"


def _check_project(store: Editable, own: Identity, number: str, tags: dict[str, str]) -> None:
    """Raise InputError if a version is of another project. One registered before projects were recorded is of any."""
    other = tags.get(PROJECT)
    if other and other != own.project:
        ours = [known for known in store.versions(own.model) if store.version_tags(own.model, known).get(PROJECT) == own.project]
        newest = f"--version {max(map(int, ours))} is this project's newest; " if ours and own.project else ""
        raise InputError(
            f"version {number} of model '{own.model}' is of project {excerpt(other)}, not of this one; {newest}"
            "set register.name to keep the two apart, or use --other-project to promote it all the same"
        )


def _check_not_rolled_back(moves: list[dict[str, Any]], number: str, given: str | None, reason: str | None) -> None:
    """Raise InputError if a version was rolled back and its number and a reason are not both given."""
    at = rolled_back(moves).get(number)
    if at and not (given and reason):
        raise InputError(
            f"version {number} was rolled back at {at}; to promote it again, give its number and a reason: "
            f'--version {number} --reason "..."'
        )


def _moved(store: Editable, name: str, version: str, replaced: str | None) -> dict[str, Any]:
    hashes = [store.version_tags(name, number).get("data_hash") if number else None for number in (version, replaced)]
    return {
        "name": name,
        "version": version,
        "replaced": replaced,
        "figures": _figures(store, name, version),
        "replaced_figures": _figures(store, name, replaced),
        "same_data": hashes[0] == hashes[1] if all(hashes) else None,
        "skipped": [],
    }


def _figures(store: Editable, name: str, version: str | None) -> dict[str, float]:
    found = store.version(name, version) if version else None
    metrics = store.metrics(found.run_id) if found and found.run_id else {}
    return {key: metrics[key] for key in FIGURES if key in metrics}
