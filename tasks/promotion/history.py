"""The champions of a model, in order.

They are read from the entries of its record and from what earlier versions recorded.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PROMOTE, ROLLBACK = "promote", "rollback"
REFUSE = "refuse"  # the champion stays
MOVE = "tokensieve.promotion."  # tags of a registered model by versions before the record, one per move
EARLIER = "tokensieve.promotions"  # tag of a registered model by versions before 0.2: a JSON list of moves

log = logging.getLogger("tokensieve")


@dataclass(frozen=True)
class Entry:
    """One promotion or rollback, or a promotion that was refused.

    Attributes:
        number: Its place in the record, from 1. 0: an earlier version recorded it as a tag.
        previous: The SHA-256 of the entry before it.
        model: The name of the registered model.
        at: When it began, UTC.
        action: promote, rollback or refuse.
        from_version: The champion before. None: there was none.
        to_version: The champion after. Of a refusal: the version that was to become it.
        reason: Why, as a person gave it, or as the rule did that refused it.
        user, host, flow_run: Who: the user, the machine, and the id of the Prefect run.
        gate: The report of the gate as JSON. None: there was none.
        forced: Whether it was done although the gate refused it.
        data_hash, git_commit, lock_hash: Data, commit and dvc.lock that `to_version` was made from.
        same, from_same: The run and the fingerprint of both versions. Another version with one of
            them is the same model.
    """

    number: int
    previous: str
    model: str
    at: str
    action: str
    from_version: str | None
    to_version: str
    reason: str | None = None
    user: str | None = None
    host: str | None = None
    flow_run: str | None = None
    gate: dict[str, Any] | None = None
    forced: bool = False
    data_hash: str | None = None
    git_commit: str | None = None
    lock_hash: str | None = None
    same: tuple[str, ...] = ()
    from_same: tuple[str, ...] = ()


def champions(moves: Sequence[Entry]) -> list[str]:
    """Return the champions in order, the present one last, without those that were rolled back."""
    stack: list[str] = []
    for move in moves:
        if move.action == ROLLBACK:
            while stack and stack[-1] != move.to_version:
                stack.pop()
        # Another program may have moved the alias, without a record.
        elif move.from_version and stack[-1:] != [move.from_version]:
            stack.append(move.from_version)
        if stack[-1:] != [move.to_version]:
            stack.append(move.to_version)
    return stack


def rolled_back(moves: Sequence[Entry]) -> dict[str, Entry]:
    """Return the versions that were rolled back and not promoted again, each with its rollback."""
    found: dict[str, Entry] = {}
    for move in moves:
        if move.action == ROLLBACK and move.from_version:
            found[move.from_version] = move
        good = {move.to_version, *move.same}
        found = {
            number: rollback for number, rollback in found.items() if not good & {number, *rollback.from_same}
        }
    return found


def earlier_moves(name: str, tags: Mapping[str, str]) -> list[Entry]:
    """Return the moves that earlier versions wrote as tags of model `name`, oldest first."""
    found = _moves(name, EARLIER, tags.get(EARLIER, "[]"))
    for key in sorted(tags):
        if key.startswith(MOVE):
            found += _moves(name, key, f"[{tags[key]}]")
    return found


def _moves(name: str, key: str, text: str) -> list[Entry]:
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
    return [
        Entry(
            number=0,
            previous="",
            model=name,
            at=move["at"],
            action=move["action"],
            from_version=move["replaced"],
            to_version=move["version"],
            reason=move.get("reason"),
            same=tuple(move.get("same", [])),
            from_same=tuple(move.get("replaced_same", [])),
        )
        for move in moves
    ]


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
