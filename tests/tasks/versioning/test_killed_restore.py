"""`data restore` killed at any moment leaves the old or the new data, and goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.ingest import ingest
from tasks.versioning.data_versions import data_hash, restore_version
from tests.killed import killed_before_each_change
from tests.tasks.conftest import CSV
from tokensieve.project import Layout
from tokensieve.settings import Settings


@pytest.mark.slow
def test_a_restore_killed_at_any_moment_leaves_the_old_or_the_new_data(
    layout: Layout, source: Path, tmp_path: Path
) -> None:
    old = _version(layout, source, CSV, "one,a\ntwo,b\n")
    new = _version(layout, source, CSV + "five,b\n", "five,b\n")
    restore_version(layout, old)
    contents = {old: _files(layout), new: {}}
    restore_version(layout, new)
    contents[new] = _files(layout)
    restore_version(layout, old)

    kills = 0
    for number, change in killed_before_each_change(lambda: restore_version(layout, new), layout.root):
        kills += 1
        found = ingest(layout, Settings(), None)
        assert found in contents, (number, change)
        assert _files(layout) == contents[found], (number, change)
        assert data_hash(layout) == found
        # The same command completes.
        restore_version(layout, new)
        assert _files(layout) == contents[new], (number, change)
        restore_version(layout, old)
        assert sorted(path.name for path in layout.raw.parent.glob(".raw*")) == [], (number, change)
    assert kills > 10
    assert ingest(layout, Settings(), None) == new
    assert _files(layout) == contents[new]


def _version(layout: Layout, source: Path, train: str, test: str) -> str:
    """Add a version of two files."""
    source.write_text(train, encoding="utf-8")
    other = source.with_name("test.csv")
    other.write_text("text,label\n" + test, encoding="utf-8")
    return ingest(layout, Settings(), str(source), str(other))


def _files(layout: Layout) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in layout.raw.iterdir()}
