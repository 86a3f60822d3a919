"""The history of a registered model's champions. MLflow keeps no history of aliases.

Each move is a tag of its own on the registered model, so the moves of several processes at the same
time are all kept.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tokensieve.registry.store import RegistryEditor

FINGERPRINT = (
    "tokensieve.fingerprint"  # tag of a run and a version: the hash of the artifacts (`register.fingerprint`)
)
MOVE = "tokensieve.promotion."  # tags of a registered model, one per move; the key ends in the time
TIME = "%Y%m%dT%H%M%S.%fZ"
EARLIER = "tokensieve.promotions"  # tag of a registered model: moves by versions before 0.2, a JSON list
MAX_REASON = 1000  # characters

log = logging.getLogger("tokensieve")


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
    """Return the moves in the JSON list of a tag.

    Entries that are not moves are skipped, which is logged.
    """
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


def record_move(
    store: RegistryEditor,
    name: str,
    action: str,
    version: str,
    replaced: str | None,
    moves: list[dict[str, Any]],
    reason: str | None = None,
) -> None:
    """Record that `version` became the champion and `replaced` was it before.

    `action` is promote or rollback.
    """
    now = datetime.now(UTC)
    move: dict[str, Any] = {
        "at": now.isoformat(timespec="seconds"),
        "action": action,
        "version": version,
        "replaced": replaced,
    }
    move |= {
        "same": same_model_marks(store, name, version, moves),
        "replaced_same": same_model_marks(store, name, replaced, moves) if replaced else [],
    }
    # Later than all known moves: the clock of another machine may be ahead.
    times = [time + timedelta(microseconds=1) for key in store.tags(name) if (time := _time(key))]
    key = f"{MOVE}{max([now, *times]):{TIME}}-{secrets.token_hex(3)}"
    store.set_tag(name, key, json.dumps(move | ({"reason": reason[:MAX_REASON]} if reason else {})))


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


def same_model_marks(store: RegistryEditor, name: str, number: str, moves: list[dict[str, Any]]) -> list[str]:
    """Return the run and the fingerprint of a version.

    Other versions with one of them are the same model. For a deleted version they are read from the
    last move to it.
    """
    found = store.version(name, number)
    if found is None:
        return next((move.get("same", []) for move in reversed(moves) if move["version"] == number), [])
    marks = {"run": found.run_id, "fingerprint": store.version_tags(name, number).get(FINGERPRINT)}
    return [f"{kind} {mark}" for kind, mark in marks.items() if mark]
