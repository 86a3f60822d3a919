"""A stage's output folder, replaced as a whole: written beside, then renamed, so that a failure leaves the earlier one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Yields an empty folder beside `folder`, which takes its place when the block ends without an error."""
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_json(path: Path, tree: Any) -> None:
    """Write `tree` as JSON, beside and then renamed."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(json.dumps(tree, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(path)


def read_json(path: Path) -> Any:
    """The tree that `write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))
