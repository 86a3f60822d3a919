"""The record of the project's model, for people and machines to read."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tasks.promotion.history import Entry
from tasks.promotion.move_champion import is_old, recover
from tasks.promotion.record import DONE, NAMES, Record, read_record
from tasks.promotion.registry_lookups import existing_aliases, open_registry
from tokensieve.project import Layout
from tokensieve.registry.project_identity import identity
from tokensieve.registry.store import RegistryEditor
from tokensieve.settings import Settings


def project_record(layout: Layout, settings: Settings) -> Record:
    """Return the record of the project's model.

    An entry that was cut off more than a minute ago gets its outcome.

    Raises:
        InputError: If there is no registry, neither a model nor a record of it, or if the record's
            experiment is deleted.
    """
    return recovered_record(open_registry(layout, settings), identity(layout, settings).model)


def recovered_record(store: RegistryEditor, name: str) -> Record:
    """Return the record of a model.

    An entry that was cut off more than a minute ago gets its outcome.

    Raises:
        InputError: As `project_record` does.
    """
    record = read_record(store, name)
    if not record.experiment:
        existing_aliases(store, name)
    if record.unfinished and is_old(record.unfinished):
        recover(store, record, record.unfinished)
        return read_record(store, name)
    return record


def record_tree(record: Record) -> dict[str, Any]:
    """Return a record as JSON: the model's name, whether the chain is intact, and all entries,
    oldest first.

    The entries of versions before the record have number 0 and neither hash nor run.
    """
    earlier = [_tree(move) | {"outcome": DONE, "hash": None, "run": None} for move in record.earlier]
    entries = [
        _tree(known.entry) | {"outcome": known.outcome or None, "hash": known.hash, "run": known.run}
        for known in record.entries
    ]
    return {
        "model": record.name,
        "intact": not record.fault,
        "fault": record.fault or None,
        "entries": earlier + entries,
    }


def _tree(entry: Entry) -> dict[str, Any]:
    return {NAMES.get(key, key): value for key, value in asdict(entry).items()}
