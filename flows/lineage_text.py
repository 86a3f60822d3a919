"""Where a registered version comes from, and how its reproduction compares with it, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from flows.record_text import table_text
from flows.status_text import scores_text

if TYPE_CHECKING:
    from tasks.promotion.lineage import Lineage
    from tasks.promotion.reproduce import Reproduction

DIGITS = 16  # of a hash in a table


def lineage_text(found: Lineage) -> str:
    """Return where a version comes from, as a table."""
    title = f"Version {found.version.version} of {found.version.model}"
    return table_text(("", ""), [row for row in _rows(found) if row[1]], title)


def reproduced_text(found: Reproduction) -> str:
    """Return how a reproduction compares with the version, as a table and a sentence."""
    title = f"Version {found.version} of {found.model}, trained again in {found.folder}"
    rows = [
        (
            file.name,
            file.original[:DIGITS] or "none",
            file.reproduced[:DIGITS] or "none",
            "identical" if file.is_same else "differs",
        )
        for file in found.files
    ]
    lines = [table_text(("file", "SHA-256", "trained again", ""), rows, title)]
    lines += [f"{name} was {then}, and is {now} here" for name, then, now in found.packages]
    if found.is_identical:
        lines.append("The weights are identical.")
    elif found.agreement:
        agreed = found.agreement
        lines.append(
            f"The weights differ. Both give the same labels to {agreed.same_labels:.2%} of {agreed.texts:,} "
            f"test texts; the largest difference of two logits is {agreed.largest_difference:.2g}."
        )
    else:
        lines.append("The weights differ, and the labels too.")
    return "\n".join(lines)


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
