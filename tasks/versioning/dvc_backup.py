"""Back up the small files that DVC changes in place.

A full disk or a kill must not lose the earlier files.
"""

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
LIST = "files.json"  # which files existed; it is written last, so a backup with this file is complete


@contextmanager
def restored_on_error(layout: Layout) -> Iterator[None]:
    """Restore the files that DVC changes in place if the block fails.

    The copies are made before the block, so restoring them needs no space on the disk. If the
    process is killed within the block, the next call restores the damaged files.
    """
    repair(layout)
    folder = layout.snapshot
    _copy(layout, folder)
    try:
        yield
    except BaseException:
        _restore(layout, folder)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def repair(layout: Layout) -> None:
    """Restore the files that a killed process left damaged.

    Delete DVC's list of readers and writers if it is damaged.
    """
    folder = layout.snapshot
    if (folder / LIST).exists():
        _restore(layout, folder, only_damaged=True)
    shutil.rmtree(folder, ignore_errors=True)
    readers = layout.at(".dvc", "tmp", "rwlock")
    if readers.exists():
        try:
            json.loads(readers.read_bytes())
        except ValueError:
            readers.unlink(missing_ok=True)


def _copy(layout: Layout, folder: Path) -> None:
    folder.mkdir(parents=True)
    existed = {name: layout.at(name).is_file() for name in FILES}
    for number, name in enumerate(FILES):
        if existed[name]:
            shutil.copy2(layout.at(name), folder / str(number))
    write_json(folder / LIST, existed)


def _restore(layout: Layout, folder: Path, only_damaged: bool = False) -> None:
    for number, (name, existed) in enumerate(read_json(folder / LIST).items()):
        path, copy = layout.at(name), folder / str(number)
        if only_damaged and not (path.suffix in (".lock", ".dvc") and _is_damaged(path)):
            continue
        if not existed:
            path.unlink(missing_ok=True)
        elif not path.is_file() or path.read_bytes() != copy.read_bytes():
            path.parent.mkdir(parents=True, exist_ok=True)
            copy.replace(path)


def _is_damaged(path: Path) -> bool:
    """Return whether dvc.lock or a pointer was cut off.

    A cut after which a stage only looks changed does no harm.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (yaml.YAMLError, ValueError):
        return True
    if path.suffix == ".dvc":
        return not _has_entries(tree, "outs", {"md5", "path"})
    stages = tree.get("stages") if isinstance(tree, dict) else None
    return not isinstance(stages, dict) or not all(
        isinstance(stage, dict)
        and "cmd" in stage
        and _has_entries(stage, "deps", {"path"})
        and _has_entries(stage, "outs", {"path"})
        for stage in stages.values()
    )


def _has_entries(tree: Any, key: str, wanted: set[str]) -> bool:
    """Return whether `tree[key]` is a list of mappings, each with the `wanted` keys.

    The list `deps` may be missing.
    """
    entries = tree.get(key, [] if key == "deps" else None) if isinstance(tree, dict) else None
    return isinstance(entries, list) and all(
        isinstance(entry, dict) and wanted <= entry.keys() for entry in entries
    )
