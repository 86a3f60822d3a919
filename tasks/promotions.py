"""The history of a model's champions, which MLflow keeps none of: notes in order, and what a rollback returns to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

REMEMBERED = 30  # notes kept: a tag of MLflow holds 5000 characters


def noted(notes: list[dict[str, Any]], action: str, version: str, replaced: str | None) -> list[dict[str, Any]]:
    """`notes` with one more: `action`, promote or rollback, made `version` the champion instead of `replaced`."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [*notes, {"at": now, "action": action, "version": version, "replaced": replaced}][-REMEMBERED:]


def champions(notes: list[dict[str, Any]]) -> list[str]:
    """The champions one after the other, this one last, without those that were rolled back."""
    stack: list[str] = []
    for note in notes:
        if note["action"] == "rollback":
            while stack and stack[-1] != note["version"]:
                stack.pop()
        # The alias may have been moved without a note, or the notes before may be forgotten.
        elif note["replaced"] and stack[-1:] != [note["replaced"]]:
            stack.append(note["replaced"])
        if stack[-1:] != [note["version"]]:
            stack.append(note["version"])
    return stack
