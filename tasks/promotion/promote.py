"""Promote a version to champion, and roll back to an earlier champion."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.promotion.answering_version import why_not_answering
from tasks.promotion.checks import check_complete, check_not_rolled_back, check_project, same_model
from tasks.promotion.gate import check_gate
from tasks.promotion.gate_report import REFUSED, GateReport
from tasks.promotion.history import PROMOTE, REFUSE, ROLLBACK, Entry, champions
from tasks.promotion.move_champion import CHAMPION, move_champion, settled_record
from tasks.promotion.record import Record
from tasks.promotion.refusals import record_refusal
from tasks.promotion.registry_lookups import (
    existing_aliases,
    existing_version,
    known_versions,
    open_registry,
)
from tasks.tracking.registered_files import keep_answer
from tokensieve.errors import InputError, Refused
from tokensieve.project import Layout
from tokensieve.registry.project_identity import identity
from tokensieve.registry.runs import Run
from tokensieve.registry.store import RegistryEditor
from tokensieve.settings import Settings

CHALLENGER = "challenger"
LOCK = "tokensieve.lock_hash"  # tag of a run: the SHA-256 of dvc.lock
COMMIT = "mlflow.source.git.commit"  # tag of a run: MLflow's own name
COMPARED = ("accuracy", "exact match")  # rules of the gate
MAX_REASON = 1000  # characters
# Figures that a promotion shows: test_NAME is the metric test/NAME of a run.
FIGURES = (
    "test_accuracy",
    "test_exact_match",
    "test_macro_f1",
    "test_micro_f1",
    "test_ece",
)


@dataclass(frozen=True)
class Cause:
    """Why a champion moves.

    Attributes:
        reason: As a person gave it.
        flow_run: The id of the Prefect run.
        gate: The report of the gate as JSON. None: there was none.
        force: Whether it is done also if the gate refuses it.
    """

    reason: str | None = None
    flow_run: str | None = None
    gate: dict[str, Any] | None = None
    force: bool = False


def promote(
    layout: Layout,
    settings: Settings,
    version: str | None = None,
    reason: str | None = None,
    other_project: bool = False,
    flow_run: str | None = None,
    force: bool = False,
    by_person: bool = True,
) -> dict[str, Any]:
    """Make `version`, by default the challenger, the champion, unless the gate refuses it.

    Return what `_moved` does, and `gate_accuracy` of the gate. A refusal is recorded once. Without
    `by_person`, a version that was rolled back is refused, whatever the reason.

    Raises:
        InputError: If registry, model, version or files do not exist; if another project registered
            the version, without `other_project`; if `force` has no reason; or if another process
            moves the champion at the same time.
        Refused: If the gate refuses the version; or if the same model was rolled back, and
            `version` and `reason` are not both given.
    """
    if force and not reason:
        raise InputError("--force needs a reason, which is kept in the record; give --reason TEXT")
    own, store = identity(layout, settings), open_registry(layout, settings)
    record, name = _begun_record(layout, store, own.model), own.model
    number = _challenger(store, name) if version is None else version
    replaced = existing_aliases(store, name).get(CHAMPION)
    found = existing_version(store, name, number)
    if not other_project:
        check_project(store, own, number, store.version_tags(name, number))
    try:
        check_not_rolled_back(store, name, number, record.moves, bool(version and reason and by_person))
        check_complete(store, found, name, number)
        if number == replaced:
            return _moved(store, name, number, replaced)
        report = check_gate(layout, settings, store, name, number, replaced, force)
    except Refused as refused:
        cause = Cause(refused.reason, flow_run, refused.report)
        entry = _entry(store, record, REFUSE, replaced, number, cause)
        refused.is_known = not record_refusal(store, record, entry)
        raise
    cause = Cause(reason, flow_run, report.tree() if report else None, force)
    _move(layout, store, record, _entry(store, record, PROMOTE, replaced, number, cause))
    return _moved(store, name, number, replaced) | {"gate_accuracy": _gate_accuracy(report)}


def rollback(
    layout: Layout, settings: Settings, reason: str | None = None, flow_run: str | None = None
) -> dict[str, Any]:
    """Make the previous champion that still exists, loads and answers a text, the champion.

    Returns:
        As `promote`, with the earlier champions that were passed over in `skipped`, and why in
        `skipped_why`.

    Raises:
        InputError: If the registry or the model does not exist, if no earlier champion is left, or
            if another process moves the champion at the same time, and was faster.
    """
    own, store = identity(layout, settings), open_registry(layout, settings)
    name, skipped = own.model, dict[str, str]()
    record = _begun_record(layout, store, name)
    replaced = existing_aliases(store, name).get(CHAMPION)
    before = champions(record.moves)
    for number in reversed(before):
        if number == replaced or number in skipped:
            continue
        if fault := why_not_answering(layout, store, name, number):
            skipped[number] = fault
            continue
        # A deleted champion has no alias any more, but it is in the record.
        last = replaced or (before[-1] if before[-1] != number else None)
        cause = Cause(reason, flow_run)
        _move(layout, store, record, _entry(store, record, ROLLBACK, last, number, cause))
        return _moved(store, name, number, replaced) | {"skipped": list(skipped), "skipped_why": skipped}
    gone = f" ({'; '.join(f'{number}: {fault}' for number, fault in skipped.items())})" if skipped else ""
    raise InputError(f"model '{name}' has no earlier champion{gone}; {_others(store, name, replaced)}")


def _move(layout: Layout, store: RegistryEditor, record: Record, entry: Entry) -> None:
    """Move the champion, and keep the registry's answer for the servers of this project.

    Raises as `move_champion` does.
    """
    move_champion(store, record, entry)
    keep_answer(store.uri, layout.served, record.name)


def _others(store: RegistryEditor, name: str, champion: str | None) -> str:
    """Return what to do if there is no earlier champion."""
    others = [number for number in sorted(map(int, store.versions(name))) if str(number) != champion]
    if not others:
        return "there is no other version; train one with tokensieve run"
    return (
        "choose another version: tokensieve promote --version N --reason TEXT; versions: "
        f"{', '.join(map(str, others))}"
    )


def _begun_record(layout: Layout, store: RegistryEditor, name: str) -> Record:
    """Return the record of a model, whose last entry has an outcome. Create it if there is none.

    Raises:
        InputError: If the model does not exist.
    """
    existing_aliases(store, name)
    # With a database, the files are in the project. A server knows where its files belong.
    location = None if store.uri.startswith("http") else layout.runs.resolve().as_uri()
    return settled_record(store, name, location)


def _entry(
    store: RegistryEditor, record: Record, action: str, replaced: str | None, number: str, cause: Cause
) -> Entry:
    """Return the entry of a move that begins now, or of a refusal."""
    name, moves = record.name, record.moves
    found = store.version(name, number)
    run = store.run(found.run_id) if found and found.run_id else None
    tags = run.tags if run else {}
    return Entry(
        number=0,
        previous="",
        model=name,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        action=action,
        from_version=replaced,
        to_version=number,
        reason=_encodable(cause.reason or "")[:MAX_REASON] or None,
        user=user_name(),
        host=socket.gethostname(),
        flow_run=cause.flow_run,
        gate=cause.gate,
        forced=cause.force and (cause.gate or {}).get("outcome") == REFUSED,
        data_hash=store.version_tags(name, number).get("data_hash"),
        git_commit=tags.get(COMMIT),
        lock_hash=tags.get(LOCK),
        same=tuple(same_model(store, name, number, moves)),
        from_same=tuple(same_model(store, name, replaced, moves) if replaced else ()),
    )


def _encodable(text: str) -> str:
    """Return `text` with ? for bytes of the command line that are no UTF-8."""
    return text.encode("utf-8", "replace").decode()


def user_name() -> str:
    """Return the name of the user who runs this process, or the number of the user."""
    try:
        return _encodable(getpass.getuser())
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid {os.getuid()}"


def _challenger(store: RegistryEditor, name: str) -> str:
    aliases = existing_aliases(store, name)
    if CHALLENGER not in aliases:
        known = ", ".join(f"{alias} ({version})" for alias, version in sorted(aliases.items())) or "none"
        raise InputError(
            f"model '{name}' has no alias '{CHALLENGER}'; aliases: {known}; versions: "
            f"{known_versions(store, name)}"
        )
    return aliases[CHALLENGER]


def _moved(store: RegistryEditor, name: str, version: str, replaced: str | None) -> dict[str, Any]:
    """Return name, version, the version that it replaced (None for the first champion), the figures
    of both, and whether both have the same data.
    """
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
        "skipped_why": {},
    }


def _gate_accuracy(report: GateReport | None) -> str:
    """Return what the gate measured of both versions on the same texts. Empty: nothing."""
    found = (row for row in (report.rows if report else ()) if row.rule in COMPARED)
    return next((f"{row.rule} {row.value}" for row in found), "")


def figures_of(run: Run | None) -> dict[str, float]:
    """Return the metrics of a run that a promotion shows, as far as it has them.

    Empty without a run.
    """
    found = run.metrics if run else {}
    # Earlier versions logged them without a group.
    named = {key: found.get(f"test/{key.removeprefix('test_')}", found.get(key)) for key in FIGURES}
    return {key: value for key, value in named.items() if value is not None}


def _figures(store: RegistryEditor, name: str, version: str | None) -> dict[str, float]:
    found = store.version(name, version) if version else None
    return figures_of(store.run(found.run_id)) if found else {}
