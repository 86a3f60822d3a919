"""Copies of the small files that DVC writes in place: a write that a full disk or a kill cuts off must not lose the earlier file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tokensieve.files import read_json, write_json
from tokensieve.project import Layout

FILES = (
    "dvc.lock",
    "data/raw.dvc",
    ".dvc/config",
    ".dvcignore",
    ".gitignore",
    "data/.gitignore",
    "artifacts/.gitignore",
)
LIST = "files.json"  # by file whether it was there; written last, so a folder with it is whole


@contextmanager
def kept(layout: Layout) -> Iterator[None]:
    """Keep the files that DVC writes in place: if the block fails, they are as they were before it.

    The copies are made before, so that taking them back needs no room on the disk. If the process is killed, the next call takes
    back the files that are damaged.
    """
    repair(layout)
    folder = layout.snapshot
    _copy(layout, folder)
    try:
        yield
    except BaseException:
        _take_back(layout, folder)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def repair(layout: Layout) -> None:
    """Take back what a killed process left damaged, and remove DVC's lock file of readers and writers if it cannot be read."""
    folder = layout.snapshot
    if (folder / LIST).exists():
        _take_back(layout, folder, only_damaged=True)
    shutil.rmtree(folder, ignore_errors=True)
    busy = layout.at(".dvc", "tmp", "rwlock")
    if busy.exists():
        try:
            json.loads(busy.read_bytes())
        except ValueError:
            busy.unlink(missing_ok=True)


def _copy(layout: Layout, folder: Path) -> None:
    folder.mkdir(parents=True)
    there = {name: layout.at(name).is_file() for name in FILES}
    for place, name in enumerate(FILES):
        if there[name]:
            shutil.copy2(layout.at(name), folder / str(place))
    write_json(folder / LIST, there)


def _take_back(layout: Layout, folder: Path, only_damaged: bool = False) -> None:
    for place, (name, there) in enumerate(read_json(folder / LIST).items()):
        path, copy = layout.at(name), folder / str(place)
        if only_damaged and not (path.suffix in (".lock", ".dvc") and _damaged(path)):
            continue
        if not there:
            path.unlink(missing_ok=True)
        elif not path.is_file() or path.read_bytes() != copy.read_bytes():
            path.parent.mkdir(parents=True, exist_ok=True)
            copy.replace(path)


def _damaged(path: Path) -> bool:
    """Whether dvc.lock or a pointer was cut off. A cut that only makes a stage look changed does no harm."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (yaml.YAMLError, ValueError):
        return True
    if path.suffix == ".dvc":
        return not _entries(tree, "outs", {"md5", "path"})
    stages = tree.get("stages") if isinstance(tree, dict) else None
    return not isinstance(stages, dict) or not all(
        isinstance(stage, dict)
        and "cmd" in stage
        and _entries(stage, "deps", {"path"})
        and _entries(stage, "outs", {"path"})
        for stage in stages.values()
    )


def _entries(tree: Any, key: str, wanted: set[str]) -> bool:
    """Whether `tree` holds a list of mappings with the `wanted` keys under `key`, or for optional lists nothing."""
    entries = tree.get(key, [] if key == "deps" else None) if isinstance(tree, dict) else None
    return isinstance(entries, list) and all(
        isinstance(entry, dict) and wanted <= entry.keys() for entry in entries
    )
