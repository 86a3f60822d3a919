"""Move the alias champion, with an entry in the record: intent, alias, re-read, done.

A process may be killed after any step. The next one reads the record. If the alias was moved, it
completes the entry; if not, it marks the entry as abandoned.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

from tasks.promotion.history import REFUSE, Entry, champions
from tasks.promotion.record import (
    ABANDONED,
    DONE,
    Record,
    Recorded,
    append,
    close,
    create_record,
    read_record,
)
from tokensieve.errors import InputError
from tokensieve.registry.store import RegistryEditor, no_answer

CHAMPION, PREVIOUS = "champion", "previous"
PATIENCE = 10.0  # seconds for which the unfinished entry of another process is waited for
OLD = 60.0  # seconds after which an unfinished entry is not waited for; the clocks of two machines may differ
POLL = 0.2  # seconds
TRIES = 3

log = logging.getLogger("tokensieve")


def settled_record(store: RegistryEditor, name: str, location: str | None = None) -> Record:
    """Return the record of a model whose last entry has an outcome.

    Create it with `location` if there is none. An unfinished entry is waited for. Then its process
    counts as killed, and the entry is completed or abandoned.
    """
    end = time.monotonic() + PATIENCE
    waiting = False
    while True:
        record = read_record(store, name)
        if not record.experiment:
            create_record(store, name, location)
        elif record.unfinished is None:
            return record
        elif is_old(record.unfinished) or time.monotonic() > end:
            recover(store, record, record.unfinished)
        else:
            if not waiting:
                log.info(
                    "%s, is unfinished; waiting for it, up to %.0f s", _title(record.unfinished), PATIENCE
                )
            waiting = True
            time.sleep(POLL)


def is_old(recorded: Recorded) -> bool:
    """Return whether an entry began so long ago that its process does not work on it any more."""
    try:
        at = datetime.fromisoformat(recorded.entry.at)
        return (datetime.now(UTC) - at).total_seconds() > OLD
    except (TypeError, ValueError):  # a damaged entry
        return True


def recover(store: RegistryEditor, record: Record, cut_off: Recorded) -> None:
    """Write the outcome of a killed process: done if the alias was moved, else abandoned.

    A refusal moves no alias, so it is done.
    """
    entry = cut_off.entry
    if entry.action == REFUSE:
        close(store, cut_off, DONE)
        return
    is_moved = _champion(store, record.name) == entry.to_version
    if is_moved:
        _point_previous(store, record.name, [*record.moves, entry])
    if close(store, cut_off, DONE if is_moved else ABANDONED):
        log.warning(
            "%s, was cut off %s the champion was moved; it is %s",
            _title(cut_off),
            "after" if is_moved else "before",
            "completed" if is_moved else "marked as abandoned",
        )


def _title(recorded: Recorded) -> str:
    """Return an entry in words."""
    entry = recorded.entry
    return (
        f"entry {entry.number} of the record, the {entry.action} of version {entry.to_version} "
        f"by {entry.user} on {entry.host}"
    )


def move_champion(store: RegistryEditor, record: Record, entry: Entry) -> None:
    """Record `entry` as intended, move the aliases champion and previous, and record it as done.

    Raises:
        InputError: If another process promotes or rolls back at the same time, and was faster.
        RegistryError: If the registry does not respond, or another program moves the alias at the
            same time.
    """
    name = record.name
    if record.fault:
        log.warning("the record of promotions is broken: %s; see tokensieve history", record.fault)
    recorded = append(store, record, entry)
    if recorded is None:
        raise InputError(_overtaken(read_record(store, name), entry))
    for _ in range(TRIES):
        store.set_alias(name, CHAMPION, entry.to_version)
        if _champion(store, name) == entry.to_version:
            break
    else:
        reason = f"alias '{CHAMPION}' of model '{name}' does not stay on version {entry.to_version}"
        raise no_answer(store.uri, reason, "another program moves it; see who does, and repeat the command")
    _point_previous(store, name, [*record.moves, entry])
    is_done = close(store, recorded, DONE)
    _align(store, name, recorded)
    if not is_done:
        raise InputError(
            f"the {entry.action} of version {entry.to_version} took so long that another process marked it "
            "as abandoned; repeat the command"
        )


def _align(store: RegistryEditor, name: str, own: Recorded) -> None:
    """Move the champion to where the record ends, if that is not the entry of this process.

    A process that was paused may set the alias after another one has gone on. It notices it here.
    """
    while True:
        record = read_record(store, name)
        if record.entries and record.entries[-1].run == own.run and record.entries[-1].outcome == DONE:
            return
        record = settled_record(store, name)
        wanted = _wanted(record)
        if _champion(store, name) == wanted:
            return
        if wanted is None:
            store.delete_alias(name, CHAMPION)
        else:
            store.set_alias(name, CHAMPION, wanted)
        _point_previous(store, name, record.moves)


def _wanted(record: Record) -> str | None:
    """Return the champion at the end of the record.

    It is that of the last entry that is done, or that before the entries abandoned since.
    """
    wanted = None
    for known in reversed(record.entries):
        if known.entry.action == REFUSE:
            continue
        if known.outcome == DONE:
            return known.entry.to_version if wanted is None else wanted
        wanted = known.entry.from_version
    return wanted


def _point_previous(store: RegistryEditor, name: str, moves: list[Entry]) -> None:
    """Let the alias previous name the champion before, to which a rollback would go.

    Without one, delete the alias.
    """
    present, known = store.aliases(name) or {}, set(store.versions(name))
    before = [
        number for number in champions(moves)[:-1] if number in known and number != moves[-1].to_version
    ]
    if before and present.get(PREVIOUS) != before[-1]:
        store.set_alias(name, PREVIOUS, before[-1])
    elif not before and PREVIOUS in present:
        store.delete_alias(name, PREVIOUS)


def _champion(store: RegistryEditor, name: str) -> str | None:
    return (store.aliases(name) or {}).get(CHAMPION)


def _overtaken(record: Record, entry: Entry) -> str:
    """Return the message for a process that another one has overtaken."""
    other = record.entries[-1].entry if record.entries else None
    who = (
        f"{other.user} on {other.host} (version {other.to_version}, {other.action})"
        if other
        else "another process"
    )
    return (
        f"version {entry.to_version} was not made the champion: at the same time, {who} was faster; "
        "look at tokensieve history, and repeat the command if it is still right"
    )
