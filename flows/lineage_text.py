"""Where a registered version comes from, as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from flows.record_text import table_text
from flows.status_text import scores_text

if TYPE_CHECKING:
    from tasks.promotion.lineage import Lineage


def lineage_text(found: Lineage) -> str:
    """Return where a version comes from, as a table."""
    title = f"Version {found.version.version} of {found.version.model}"
    return table_text(("", ""), [row for row in _rows(found) if row[1]], title)


def _rows(found: Lineage) -> Iterator[tuple[str, str]]:
    version = found.version
    yield "registered", version.date
    yield "aliases", ", ".join(version.aliases)
    yield "scores", scores_text(version)
    yield "project", version.project
    yield "MLflow run", version.run
    yield "git commit", found.commit
    yield "changed since then", found.changed if found.commit else ""
    yield "dvc.lock (SHA-256)", found.lock_hash
    yield "data", version.data_hash
    yield "data: rows", ", ".join(f"{name} {count:,}" for name, count in found.data_rows.items())
    yield "data: from", found.data_source
    yield "data: added", found.data_date
    yield "packages", "\n".join(f"{name} {value}" for name, value in found.packages.items())
    yield "settings", "\n".join(f"{key}: {value}" for key, value in found.settings.items())
    yield "moves", "\n".join(found.moves)
