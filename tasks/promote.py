"""Promote a version to champion, and roll back to an earlier champion, with a history of these moves.

MLflow keeps no history of aliases. Here each move is a tag of its own on the registered model, so the moves of several
processes at the same time are all kept.
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
FINGERPRINT = (
    "tokensieve.fingerprint"  # tag of a run and a version: the hash of the artifacts (`register.fingerprint`)
)
PROJECT = "tokensieve.project"  # tag of a run and a version: the id of its project
MOVE = "tokensieve.promotion."  # tags of a registered model, one per move; the key ends in the time
TIME = "%Y%m%dT%H%M%S.%fZ"
EARLIER = "tokensieve.promotions"  # tag of a registered model: moves by versions before 0.2, a JSON list
# Metrics of a run that a promotion shows.
FIGURES = (
    "test_accuracy",
    "test_exact_match",
    "test_macro_f1",
    "test_micro_f1",
    "test_ece",
)
log = logging.getLogger("tokensieve")


def promote(
    layout: Layout,
    settings: Settings,
    version: str | None = None,
    reason: str | None = None,
    other_project: bool = False,
) -> dict[str, Any]:
    """Make `version`, by default the challenger, the champion.

    Returns:
        Name, version, the version that it replaced (None for the first champion), the figures of both, and whether both
        have the same data.

    Raises:
        InputError: If the registry, the model, the version or its files do not exist; if the version, or another one
            of the same run or artifacts, was rolled back and `version` and `reason` are not both given; or if
            another project registered it, unless `other_project` is set.
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
            f"version {number} of model '{name}' has no manifest.json, or a file that it lists is missing; its files were moved"
        )
    replaced = aliases.get(CHAMPION)
    if number != replaced:
        # First the alias: if the process is killed before the record, a rollback still finds the champion before it.
        store.set_alias(name, CHAMPION, number)
        _record(store, name, "promote", number, replaced, moves, reason)
    return _moved(store, name, number, replaced)


def rollback(layout: Layout, settings: Settings) -> dict[str, Any]:
    """Make the last champion before the present one that still exists, with its files, the champion.

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
        # First the record: if the process is killed before the alias moves, the next rollback goes to the same version.
        # A deleted champion has no alias any more, but it is in the record.
        _record(
            store, name, "rollback", number, replaced or (before[-1] if before[-1] != number else None), moves
        )
        store.set_alias(name, CHAMPION, number)
        return _moved(store, name, number, replaced) | {"skipped": skipped}
    gone = f" (deleted or without files: {', '.join(skipped)})" if skipped else ""
    raise InputError(
        f"model '{name}' has no earlier champion{gone}; promote a version by its number: {_versions(store, name)}"
    )


def history(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the moves that the tags of a model record, oldest first."""
    found = _moves(EARLIER, tags.get(EARLIER, "[]"))
    for key in sorted(tags):
        if key.startswith(MOVE):
            found += _moves(key, f"[{tags[key]}]")
    return found


def champions(moves: list[dict[str, Any]]) -> list[str]:
    """Return the champions in order, the present one last, without those that were rolled back."""
    stack: list[str] = []
    for move in moves:
        if move["action"] == "rollback":
            while stack and stack[-1] != move["version"]:
                stack.pop()
        # Another program may have moved the alias, without a record.
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
    """Return the moves in the JSON list of a tag. Entries that are not moves are skipped, which is logged."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    moves = [move for move in found if _is_move(move)] if isinstance(found, list) else []
    if not isinstance(found, list) or len(moves) < len(found):
        log.warning(
            "tag %s of the registered model is not a history of promotions; unreadable entries are skipped",
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
    # Later than all known moves: the clock of another machine may be ahead.
    times = [time + timedelta(microseconds=1) for key in store.tags(name) if (time := _time(key))]
    key = f"{MOVE}{max([now, *times]):{TIME}}-{secrets.token_hex(3)}"
    store.set_tag(name, key, json.dumps(move | ({"reason": reason[:1000]} if reason else {})))


def _time(key: str) -> datetime | None:
    """Return the time in the key of a move's tag. None if it is another key."""
    try:
        return (
            datetime.strptime(key.removeprefix(MOVE).partition("-")[0], TIME).replace(tzinfo=UTC)
            if key.startswith(MOVE)
            else None
        )
    except ValueError:
        return None


def _same(store: Editable, name: str, number: str, moves: list[dict[str, Any]]) -> list[str]:
    """Return the run and the fingerprint of a version: other versions with one of them are the same model.

    For a deleted version they are read from the last move to it.
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
    """Return `version`.

    Raises:
        InputError: If it is not written as the registry writes numbers: the history names versions so.
    """
    if not re.fullmatch(NUMBER, version):
        raise InputError(
            f"version is {excerpt(version)}; allowed: digits 0 to 9, at most ten, the first not 0; "
            f"versions of model '{name}': {_versions(store, name)}"
        )
    return version


def _versions(store: Editable, name: str) -> str:
    return ", ".join(map(str, sorted(map(int, store.versions(name))))) or "none"


def _check_project(store: Editable, own: Identity, number: str, tags: dict[str, str]) -> None:
    """Raise InputError if another project registered a version. A version without a project (earlier versions) passes."""
    other = tags.get(PROJECT)
    if other and other != own.project:
        ours = [
            known
            for known in store.versions(own.model)
            if store.version_tags(own.model, known).get(PROJECT) == own.project
        ]
        newest = f"--version {max(map(int, ours))} is this project's newest; " if ours and own.project else ""
        raise InputError(
            f"version {number} of model '{own.model}' was registered by project {excerpt(other)}, not by this one; {newest}"
            "set register.name to keep the two apart, or use --other-project to promote it anyway"
        )


def _check_not_rolled_back(
    moves: list[dict[str, Any]], same: list[str], number: str, confirmed: bool
) -> None:
    """Raise InputError if a version, or another one of the same model, was rolled back, unless `confirmed`."""
    for other, move in rolled_back(moves).items():
        if not confirmed and {number, *same} & {other, *move.get("replaced_same", [])}:
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
