"""What one stage writes and another one reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokensieve.files import read_json_or_none, write_json


def write_if_changed(path: Path, tree: dict[str, Any]) -> None:
    """Write `tree` as JSON, unless the file has this content already. A file that a merge has damaged is replaced."""
    if read_json_or_none(path) != tree:
        write_json(path, tree)
