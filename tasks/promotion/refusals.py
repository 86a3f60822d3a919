"""Refusals in the record. Each is written once, and the champion stays."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tasks.promotion.history import REFUSE, Entry
from tasks.promotion.move_champion import settled_record
from tasks.promotion.record import DONE, Record, Recorded, append, close
from tokensieve.errors import InputError
from tokensieve.registry.store import RegistryEditor

TRIES = 3

log = logging.getLogger("tokensieve")


def record_refusal(store: RegistryEditor, record: Record, entry: Entry) -> bool:
    """Append a refusal to the record, unless the same was refused since the champion moved last.

    A schedule may refuse the same version every night. A record that cannot be written is logged,
    because the refusal holds all the same.

    Returns:
        Whether the refusal is new.

    Raises:
        RegistryError: If the registry does not respond.
    """
    try:
        for _ in range(TRIES):
            if any(_is_same(known, entry) for known in _since_last_move(record.entries)):
                return False
            if recorded := append(store, record, entry):
                close(store, recorded, DONE)
                return True
            record = settled_record(store, record.name)
    except InputError as error:
        log.warning("the refusal is not recorded: %s", error)
    return True


def _since_last_move(entries: Sequence[Recorded]) -> list[Entry]:
    found: list[Entry] = []
    for known in reversed(entries):
        if known.outcome == DONE and known.entry.action != REFUSE:
            break
        found.append(known.entry)
    return [entry for entry in found if entry.action == REFUSE]


def _is_same(one: Entry, other: Entry) -> bool:
    """Return whether the same version was refused against the same champion by the same rules."""
    return (one.from_version, one.to_version, _rules(one)) == (
        other.from_version,
        other.to_version,
        _rules(other),
    )


def _rules(entry: Entry) -> list[str]:
    """Return the rules of the gate that refused a version. Empty if something else did."""
    return [row["rule"] for row in (entry.gate or {}).get("rows", ()) if row["refuses"]]
