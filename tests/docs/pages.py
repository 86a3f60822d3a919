"""The documentation's pages and its generated parts, for the tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), ROOT / "deploy/README.md", *(ROOT / "docs").glob("**/*.md")],
    key=lambda page: page.as_posix(),
)
# Their text is history: names in it are those of their day.
HISTORY = (ROOT / "CHANGELOG.md", ROOT / "docs/experiment-log.md")


def module(path: str) -> ModuleType:
    """Import a Python file of docs/, which is not a package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / "docs" / path)
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found
