"""The record of a model's promotions, rollbacks and refusals: append-only, in MLflow.

The entries are the runs of an experiment of their own. Each entry contains the SHA-256 of the one
before it. The parameter `next` of a run names the run of the next entry and its SHA-256.

MLflow has no compare-and-set, but its database refuses a second value of a parameter. So of several
processes that append at once, one writes `next`, and the others get False. The chain cannot fork,
and there is no lock that a killed process could leave behind. The experiment is created under
another name with its first run, and then renamed: of several processes, one gets the name.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from tasks.promotion.history import REFUSE, Entry, earlier_moves
from tokensieve.errors import InputError
from tokensieve.registry.runs import Run
from tokensieve.registry.store import RegistryEditor, without_password

DONE, ABANDONED = "done", "abandoned"
NEXT, OUTCOME = "next", "outcome"  # parameters of an entry's run, written once
ROOT = "tokensieve.record"  # tag of the run before the first entry: the model's name
DOCUMENT = "tokensieve.entry."  # tags of an entry's run: its JSON text, in parts
PART = 4000  # characters per tag; MLflow allows 5,000 or more
ZERO = "0" * 64  # what the first entry has as the hash before it
NAMES = {"from_version": "from", "to_version": "to"}  # fields of an entry whose names in JSON differ


@dataclass(frozen=True)
class Recorded:
    """An entry as the record has it.

    Attributes:
        run: The id of its run.
        hash: The SHA-256 of its text.
        outcome: done or abandoned. Empty: it is under way, or its process was killed.
    """

    entry: Entry
    run: str
    hash: str
    outcome: str


@dataclass(frozen=True)
class End:
    """What the next entry is appended to: the last run of the record, and the number and hash of
    its entry.

    Before the first entry, the number is 0 and the hash `ZERO`.
    """

    run: Run
    number: int
    hash: str


@dataclass(frozen=True)
class Record:
    """The record of model `name`.

    Attributes:
        experiment: The id of its experiment. Empty: nothing is recorded yet.
        end: What the next entry is appended to. None: nothing is recorded yet, or its last run is
            gone.
        entries: Oldest first.
        earlier: What versions before the record wrote as tags.
        fault: What is wrong with the chain. Empty: it is intact.
    """

    name: str
    experiment: str
    end: End | None
    entries: tuple[Recorded, ...]
    earlier: tuple[Entry, ...]
    fault: str = ""

    @property
    def moves(self) -> list[Entry]:
        """The promotions and rollbacks that were done, oldest first."""
        done = (known.entry for known in self.entries if known.outcome == DONE)
        return [*self.earlier, *(entry for entry in done if entry.action != REFUSE)]

    @property
    def unfinished(self) -> Recorded | None:
        """The last entry, if it has no outcome."""
        return self.entries[-1] if self.entries and not self.entries[-1].outcome else None


def experiment_name(name: str) -> str:
    """Return the name of the experiment with the record of model `name`."""
    return f"tokensieve record of {name}"


def read_record(store: RegistryEditor, name: str) -> Record:
    """Return the record of model `name`.

    Raises:
        InputError: If its experiment is deleted.
    """
    earlier = tuple(earlier_moves(name, store.tags(name)))
    found = store.find_experiment(experiment_name(name))
    if found is None:
        return Record(name, "", None, (), earlier)
    if found.deleted:
        raise InputError(
            f"experiment '{experiment_name(name)}' in {without_password(store.uri)}, "
            "the record of promotions, is deleted; restore it: "
            f"mlflow experiments restore --experiment-id {found.id}"
        )
    runs = {run.id: run for run in store.runs(found.id)}
    entries, end, faults = _follow(store, name, runs)
    return Record(name, found.id, end, tuple(entries), earlier, "; ".join(faults))


def create_record(store: RegistryEditor, name: str, location: str | None) -> None:
    """Create the experiment of the record of model `name`.

    `location` is the address of its files.
    """
    wanted = experiment_name(name)
    made = store.create_experiment(f"{wanted} ({secrets.token_hex(8)})", location)
    root = store.create_run(made, "0000 begin", {ROOT: name})
    store.end_run(root, "FINISHED")
    if not store.rename_experiment(made, wanted):
        store.delete_experiment(made)  # another process was faster


def append(store: RegistryEditor, record: Record, entry: Entry) -> Recorded | None:
    """Append an entry, whose number and hash before it are set here.

    None: another process has appended one since the record was read.

    Raises:
        InputError: If the last run of the record is deleted or gone.
    """
    where = f"experiment '{experiment_name(record.name)}', the record of promotions"
    if record.end is None:
        raise InputError(
            f"{where}, cannot be continued: {record.fault or 'it was deleted meanwhile'}; "
            "rename the experiment to begin a new record: "
            f"mlflow experiments rename --experiment-id {record.experiment} --new-name NAME"
        )
    if record.end.run.deleted:
        raise InputError(
            f"{where}, has a deleted run; restore it: mlflow runs restore --run-id {record.end.run.id}"
        )
    entry = replace(entry, number=record.end.number + 1, previous=record.end.hash)
    text = document(entry)
    tags = {
        f"{DOCUMENT}{i:02}": text[start : start + PART] for i, start in enumerate(range(0, len(text), PART))
    }
    tags |= {
        "mlflow.user": entry.user or "",
        "mlflow.note.content": entry.reason or "",
        "mlflow.source.name": f"tokensieve {entry.action}",
    }
    title = f"{entry.number:04} {entry.action} {entry.from_version or 'none'} to {entry.to_version}"
    run = store.create_run(record.experiment, title, {key: value for key, value in tags.items() if value})
    recorded = Recorded(entry, run, _hash(text), "")
    if not store.write_once(record.end.run.id, NEXT, f"{run} {recorded.hash}"):
        store.delete_run(run)
        return None
    return recorded


def close(store: RegistryEditor, recorded: Recorded, outcome: str) -> bool:
    """Write the outcome of an entry.

    Return False if another process has written the other outcome.
    """
    is_written = store.write_once(recorded.run, OUTCOME, outcome)
    if is_written:
        store.end_run(recorded.run, "FINISHED" if outcome == DONE else "KILLED")
    return is_written


def document(entry: Entry) -> str:
    """Return an entry as JSON text with sorted keys. Its SHA-256 is the entry's hash."""
    tree = {NAMES.get(key, key): value for key, value in asdict(entry).items()}
    return json.dumps(tree, sort_keys=True, separators=(",", ":"))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _follow(
    store: RegistryEditor, name: str, runs: dict[str, Run]
) -> tuple[list[Recorded], End | None, list[str]]:
    """Return the entries in order, the end of the chain, and what is wrong with it."""
    root = next((run for run in runs.values() if ROOT in run.tags), None)
    if root is None:
        return [], None, ["its first run ('0000 begin') is gone"]
    entries: list[Recorded] = []
    faults: list[str] = []
    end = End(root, 0, ZERO)
    while link := end.run.params.get(NEXT):
        number, (next_id, _, expected) = end.number + 1, link.partition(" ")
        # A run that was made while the list was read may not be in it.
        run = runs.get(next_id) or store.run(next_id)
        if run is None:
            return entries, None, [*faults, f"entry {number} is missing: run {next_id} is gone"]
        text = "".join(run.tags[key] for key in sorted(run.tags) if key.startswith(DOCUMENT))
        entry = _entry(text)
        if _hash(text) != expected:
            faults.append(f"entry {number} was changed after it was written (run {next_id})")
        elif entry is None or (entry.number, entry.previous, entry.model) != (number, end.hash, name):
            faults.append(f"entry {number} does not follow the entry before it (run {next_id})")
        if entry:
            entries.append(Recorded(entry, next_id, expected, run.params.get(OUTCOME, "")))
        end = End(run, number, expected)
    return entries, end, faults


def _entry(text: str) -> Entry | None:
    """Return the entry in a JSON text. None: the text is no entry."""
    names = {NAMES.get(field.name, field.name): field.name for field in fields(Entry)}
    try:
        tree: dict[str, Any] = json.loads(text)
        found = {names[key]: value for key, value in tree.items() if key in names}
        return Entry(**found | {key: tuple(found.get(key, ())) for key in ("same", "from_same")})
    except (AttributeError, TypeError, ValueError, RecursionError):
        return None
