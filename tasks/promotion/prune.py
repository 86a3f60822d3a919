"""Delete what a project does not need any more: old versions and runs in the registry, and caches.

Never deleted: a version that an alias names, that the record of promotions names, that another
project registered, or that is among the newest; and no data version.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.promotion.checks import PROJECT
from tasks.promotion.history import REFUSE
from tasks.promotion.record import Record
from tasks.promotion.registry_lookups import existing_aliases, open_registry
from tasks.promotion.shown_record import recovered_record
from tasks.versioning.unused_objects import unused_objects
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.registry.project_identity import Identity, identity
from tokensieve.registry.runs import Run
from tokensieve.registry.store import RegistryEditor, exists, tracking_uri
from tokensieve.settings import Settings

VERSION, RUN, CACHE = "version", "run", "cache"
KEEP = 10  # newest versions that are kept
DAY = 24 * 60 * 60.0  # seconds; a younger run may still be registered


@dataclass(frozen=True)
class Prunable:
    """Something that may be deleted.

    Attributes:
        kind: version, run or cache.
        name: The version's number, the run's id, or the folder in the project.
        bytes: The size of its files on this machine. 0: they are elsewhere.
        run: The id of the run to delete. Empty: none.
        folder: The folder to delete. None: there is none on this machine.
        files: The files to delete.
    """

    kind: str
    name: str
    bytes: int
    run: str = ""
    folder: Path | None = None
    files: tuple[Path, ...] = ()


def find_prunable(layout: Layout, settings: Settings, keep: int = KEEP) -> list[Prunable]:
    """Return what may be deleted: versions and runs of this project, and its caches.

    Raises:
        InputError: If `keep` is below 1, or if the record of promotions is broken: then nobody
            knows which versions it needs.
    """
    if keep < 1:
        raise InputError(f"--keep is {keep}; allowed: 1 or more versions")
    found = list(_caches(layout))
    uri = tracking_uri(layout, settings)
    own = identity(layout, settings)
    if exists(uri) and own.project:
        store = open_registry(layout, settings)
        if store.aliases(own.model) is not None:
            found += _in_registry(layout, settings, store, own, keep)
    return found


def prune(layout: Layout, settings: Settings, found: list[Prunable]) -> list[Prunable]:
    """Delete what `find_prunable` has returned, and return what was deleted.

    A version that got an alias meanwhile stays.
    """
    name, deleted = identity(layout, settings).model, []
    store = open_registry(layout, settings) if any(one.kind != CACHE for one in found) else None
    for one in found:
        if one.kind == VERSION and store:
            if one.name in existing_aliases(store, name).values():
                continue
            store.delete_version(name, one.name)
        if one.run and store:
            store.delete_run(one.run)
        if one.folder:
            shutil.rmtree(one.folder, ignore_errors=True)
        for file in one.files:
            file.unlink(missing_ok=True)
        deleted.append(one)
    return deleted


def _in_registry(
    layout: Layout, settings: Settings, store: RegistryEditor, own: Identity, keep: int
) -> Iterator[Prunable]:
    record = recovered_record(store, own.model)
    if record.fault:
        raise InputError(
            f"the record of promotions is broken, so nothing is pruned: {record.fault}; "
            "see tokensieve history"
        )
    numbers = sorted(store.versions(own.model), key=int)
    runs = {number: found.run_id for number in numbers if (found := store.version(own.model, number))}
    needed = {*existing_aliases(store, own.model).values(), *_recorded(record), *numbers[-keep:]}
    needed |= {
        number for number in numbers if store.version_tags(own.model, number).get(PROJECT) != own.project
    }
    needed_runs = {runs[number] for number in needed if number in runs}
    for number in numbers:
        if number not in needed:
            run = "" if runs.get(number, "") in needed_runs else runs.get(number, "")
            folder = _run_folder(layout, run)
            yield Prunable(VERSION, number, _size(folder), run, folder)
    yield from _unregistered_runs(layout, settings, store, own, set(runs.values()))


def _recorded(record: Record) -> set[str]:
    """Return the versions that the promotions and rollbacks of the record name."""
    entries = [*record.earlier, *(known.entry for known in record.entries if known.entry.action != REFUSE)]
    return {
        number for entry in entries for number in (entry.from_version, entry.to_version) if number is not None
    }


def _unregistered_runs(
    layout: Layout, settings: Settings, store: RegistryEditor, own: Identity, registered: set[str]
) -> Iterator[Prunable]:
    """Yield the project's runs that no version came from and that began more than a day ago."""
    experiment = store.find_experiment(settings.register.experiment)
    runs: list[Run] = store.runs(experiment.id) if experiment and not experiment.deleted else []
    for run in runs:
        is_old = run.started / 1000 < time.time() - DAY
        if run.tags.get(PROJECT) == own.project and run.id not in registered and is_old and not run.deleted:
            folder = _run_folder(layout, run.id)
            yield Prunable(RUN, run.id, _size(folder), run.id, folder)


def _run_folder(layout: Layout, run: str) -> Path | None:
    """Return the folder of a run's files. None: they are not in the project.

    An MLflow server, such as that of `tokensieve up`, adds the number of the experiment to the
    path.
    """
    folders = (layout.runs / run, *layout.runs.glob(f"*/{run}")) if run else ()
    return next((folder for folder in folders if folder.is_dir()), None)


def _caches(layout: Layout) -> Iterator[Prunable]:
    """Yield the folders and files that only save work.

    Downloaded models are not among them: a server starts from them while the registry is down, and
    deletes those that are unused for a week.
    """
    for folder in (layout.prefix, layout.parsed, layout.fetched):
        if folder.is_dir() and (size := _size(folder)):
            yield Prunable(CACHE, folder.relative_to(layout.root).as_posix(), size, folder=folder)
    if files := unused_objects(layout):
        size = sum(file.stat().st_size for file in files)
        yield Prunable(CACHE, f".dvc/cache, {len(files)} outputs of earlier runs", size, files=tuple(files))


def _size(folder: Path | None) -> int:
    """Return the bytes of all files in a folder. 0 if there is none."""
    if folder is None:
        return 0
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
