"""Promote a version to champion, and roll back to an earlier one. MLflow keeps no history of aliases, so it is kept here.

Each move is a tag of its own on the registered model: moves of several processes at once are all kept.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks import moved_project
from tasks.project_identity import Identity, identity
from tasks.registered_files import open_store, served_manifest
from tokensieve.errors import InputError, excerpt
from tokensieve.project import Layout
from tokensieve.registry.store import NUMBER, Editable, check_database, tracking_uri
from tokensieve.settings import Settings

CHAMPION, CHALLENGER = "champion", "challenger"
FINGERPRINT = "tokensieve.fingerprint"  # tag of a run and of a version: the hash of all it was made from
PROJECT = "tokensieve.project"  # tag of a run and of a version: the project that made it
MOVE = "tokensieve.promotion."  # tags of a registered model, one per move: the rest of the key is its time
TIME = "%Y%m%dT%H%M%S.%fZ"
EARLIER = "tokensieve.promotions"  # tag of a registered model: the last moves that versions before 0.2 made, as a JSON list
FIGURES = (
    "test_accuracy",
    "test_exact_match",
    "test_macro_f1",
    "test_micro_f1",
    "test_ece",
)  # of a run's metrics
log = logging.getLogger("tokensieve")


def promote(
    layout: Layout,
    settings: Settings,
    version: str | None = None,
    reason: str | None = None,
    other_project: bool = False,
) -> dict[str, Any]:
    """Make `version`, by default the challenger, the champion.

    Returns name, version, the version that it replaced (None: the first), the figures of both, and whether both have the same data.

    Raises:
        InputError: If there is no such registry, model, version or challenger, or its files are gone. Or if the version, or another
            of the same model, was rolled back and `version` and `reason` are not both given. Or if it is of another project, unless
            `other_project`.
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
    _check_not_rolled_back(moves, _same(store, name, number, moves), number, bool(version and reason))
    if served_manifest(store, found) is None:
        raise InputError(
            f"version {number} of model '{name}' has no manifest.json or lacks a file that it lists; its files were moved"
        )
    replaced = aliases.get(CHAMPION)
    if number != replaced:
        # The alias first: if the move is not recorded, a rollback still finds the champion before it.
        store.set_alias(name, CHAMPION, number)
        _record(store, name, "promote", number, replaced, moves, reason)
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
    moves = history(store.tags(name))
    before = champions(moves)
    for number in reversed(before):
        if number == replaced or number in skipped:
            continue
        found = store.version(name, number)
        if found is None or served_manifest(store, found) is None:
            skipped.append(number)
            continue
        # The record first: if the alias is not moved, the next rollback goes back to the same version, not forward.
        # A champion that was deleted has no alias any more: the record knows it.
        _record(
            store, name, "rollback", number, replaced or (before[-1] if before[-1] != number else None), moves
        )
        store.set_alias(name, CHAMPION, number)
        return _moved(store, name, number, replaced) | {"skipped": skipped}
    gone = f" (deleted or without files: {', '.join(skipped)})" if skipped else ""
    raise InputError(
        f"no earlier champion of model '{name}' is known{gone}; promote a version by its number: {_versions(store, name)}"
    )


def history(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the moves that a model's tags record, in order."""
    found = _moves(EARLIER, tags.get(EARLIER, "[]"))
    for key in sorted(tags):
        if key.startswith(MOVE):
            found += _moves(key, f"[{tags[key]}]")
    return found


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


def rolled_back(moves: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the versions that were rolled back and not promoted again, each with its rollback."""
    found: dict[str, dict[str, Any]] = {}
    for move in moves:
        if move["action"] == "rollback" and move["replaced"]:
            found[move["replaced"]] = move
        good = {move["version"], *move.get("same", [])}
        found = {
            number: rollback
            for number, rollback in found.items()
            if not good & {number, *rollback.get("replaced_same", [])}
        }
    return found


def _moves(key: str, text: str) -> list[dict[str, Any]]:
    """Return the moves in the list that a tag holds. What is not a move is passed over, which is logged."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    moves = [move for move in found if _is_move(move)] if isinstance(found, list) else []
    if not isinstance(found, list) or len(moves) < len(found):
        log.warning(
            "tag %s of the registered model cannot be read as a history of promotions; what is unreadable is passed over",
            key,
        )
    return moves


def _is_move(move: Any) -> bool:
    if not isinstance(move, dict) or not all(
        isinstance(move.get(key), str) for key in ("at", "action", "version")
    ):
        return False
    same = [move.get(key, []) for key in ("same", "replaced_same")]
    return (
        "replaced" in move
        and isinstance(move["replaced"], str | None)
        and all(isinstance(marks, list) and all(isinstance(mark, str) for mark in marks) for marks in same)
    )


def _record(
    store: Editable,
    name: str,
    action: str,
    version: str,
    replaced: str | None,
    moves: list[dict[str, Any]],
    reason: str | None = None,
) -> None:
    now = datetime.now(UTC)
    move: dict[str, Any] = {
        "at": now.isoformat(timespec="seconds"),
        "action": action,
        "version": version,
        "replaced": replaced,
    }
    move |= {
        "same": _same(store, name, version, moves),
        "replaced_same": _same(store, name, replaced, moves) if replaced else [],
    }
    # After all that are known: another machine's clock may be ahead of this one's.
    times = [time + timedelta(microseconds=1) for key in store.tags(name) if (time := _time(key))]
    key = f"{MOVE}{max([now, *times]):{TIME}}-{secrets.token_hex(3)}"
    store.set_tag(name, key, json.dumps(move | ({"reason": reason[:1000]} if reason else {})))


def _time(key: str) -> datetime | None:
    """Return the time in the key of a move's tag. None: it is no such key."""
    try:
        return (
            datetime.strptime(key.removeprefix(MOVE).partition("-")[0], TIME).replace(tzinfo=UTC)
            if key.startswith(MOVE)
            else None
        )
    except ValueError:
        return None


def _same(store: Editable, name: str, number: str, moves: list[dict[str, Any]]) -> list[str]:
    """Return what a version has in common with others of the same model: its run and its fingerprint.

    Of a version that was deleted, it is what the last move to it recorded.
    """
    found = store.version(name, number)
    if found is None:
        return next((move.get("same", []) for move in reversed(moves) if move["version"] == number), [])
    marks = {"run": found.run_id, "fingerprint": store.version_tags(name, number).get(FINGERPRINT)}
    return [f"{kind} {mark}" for kind, mark in marks.items() if mark]


def _opened(layout: Layout, settings: Settings) -> Editable:
    """Return the project's registry.

    Raises:
        InputError: If there is none.
    """
    uri = tracking_uri(layout, settings)
    moved_project.follow(layout, uri)
    check_database(uri)
    store = open_store(uri)
    if store is None:
        raise InputError(
            f"{uri} is empty; register a model first, or set register.uri or MLFLOW_TRACKING_URI"
        )
    return store


def _aliases(store: Editable, name: str) -> dict[str, str]:
    aliases = store.aliases(name)
    if aliases is None:
        raise InputError(
            f"no model {excerpt(name)} in the registry; models: {', '.join(store.models()) or 'none'}"
        )
    return aliases


def _challenger(store: Editable, name: str, aliases: dict[str, str]) -> str:
    if CHALLENGER not in aliases:
        known = ", ".join(f"{alias} ({version})" for alias, version in sorted(aliases.items())) or "none"
        raise InputError(
            f"model '{name}' has no alias '{CHALLENGER}'; aliases: {known}; versions: {_versions(store, name)}"
        )
    return aliases[CHALLENGER]


def _number(store: Editable, name: str, version: str) -> str:
    """Return `version`. Raises InputError: If it is not written as the registry writes numbers, by which the record names versions."""
    if not re.fullmatch(NUMBER, version):
        raise InputError(
            f"version is {excerpt(version)}; allowed: digits 0 to 9, at most ten, the first not 0; "
            f"versions of model '{name}': {_versions(store, name)}"
        )
    return version


def _versions(store: Editable, name: str) -> str:
    return ", ".join(map(str, sorted(map(int, store.versions(name))))) or "none"


def _check_project(store: Editable, own: Identity, number: str, tags: dict[str, str]) -> None:
    """Raise InputError if a version is of another project. One registered before projects were recorded is of any."""
    other = tags.get(PROJECT)
    if other and other != own.project:
        ours = [
            known
            for known in store.versions(own.model)
            if store.version_tags(own.model, known).get(PROJECT) == own.project
        ]
        newest = f"--version {max(map(int, ours))} is this project's newest; " if ours and own.project else ""
        raise InputError(
            f"version {number} of model '{own.model}' is of project {excerpt(other)}, not of this one; {newest}"
            "set register.name to keep the two apart, or use --other-project to promote it all the same"
        )


def _check_not_rolled_back(moves: list[dict[str, Any]], same: list[str], number: str, told: bool) -> None:
    """Raise InputError if a version, or another of the same model, was rolled back, unless told to promote it all the same."""
    for other, move in rolled_back(moves).items():
        if not told and {number, *same} & {other, *move.get("replaced_same", [])}:
            which = "was" if other == number else f"is the same model as version {other}, which was"
            raise InputError(
                f"version {number} {which} rolled back at {move['at']}; to promote it again, give its number and a reason: "
                f'--version {number} --reason "..."'
            )


def _moved(store: Editable, name: str, version: str, replaced: str | None) -> dict[str, Any]:
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


def _figures(store: Editable, name: str, version: str | None) -> dict[str, float]:
    found = store.version(name, version) if version else None
    metrics = store.metrics(found.run_id) if found and found.run_id else {}
    return {key: metrics[key] for key in FIGURES if key in metrics}
