"""The versions of the raw data: their list, and restoring one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tasks.ingest import ingest
from tasks.versioning.data_versions import data_hash, data_versions, restore_version
from tests.tasks.conftest import CSV
from tokensieve.errors import InputError
from tokensieve.files import sha256
from tokensieve.project import Layout
from tokensieve.settings import Settings


def test_the_same_data_has_the_same_hash_and_is_listed_once(layout: Layout, source: Path) -> None:
    first = ingest(layout, Settings(), str(source))
    assert ingest(layout, Settings(), str(source)) == first
    source.write_text(CSV + "five,b\n")
    second = ingest(layout, Settings(), str(source))

    assert second != first
    assert [version.data_hash for version in data_versions(layout)] == [first, second]
    assert data_versions(layout)[1].rows == {"train": 5}


def test_restoring_missing_data_is_refused_and_changes_nothing(layout: Layout, source: Path) -> None:
    first = ingest(layout, Settings(), str(source))
    with pytest.raises(InputError, match=f"begin with 'ffff'; known: {first}"):
        restore_version(layout, "ffff")
    lost = "f" * 32 + ".dir"
    with pytest.raises(InputError, match="neither in the project's cache nor on its remote"):
        restore_version(layout, lost)
    assert data_hash(layout) == first
    assert (layout.raw / "train.csv").read_text() == CSV


def test_a_moved_project_still_finds_its_remote(layout: Layout, source: Path, tmp_path: Path) -> None:
    found = ingest(layout, Settings(), str(source))
    moved = Layout(tmp_path / "moved")
    layout.root.rename(moved.root)
    for path in (moved.root / ".dvc" / "cache", moved.raw):
        shutil.rmtree(path)

    restore_version(moved, found)

    assert sha256(moved.raw / "train.csv") == sha256(source)


def test_a_failed_restore_in_a_project_without_data_leaves_none(layout: Layout) -> None:
    with pytest.raises(InputError, match="neither"):
        restore_version(layout, "0" * 32 + ".dir")
    assert not layout.raw_pointer.exists()
    with pytest.raises(InputError, match="no data yet"):
        ingest(layout, Settings(), None)


def test_a_restore_that_is_killed_leaves_the_present_data(
    layout: Layout, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ingest(layout, Settings(), str(source))
    source.write_text(CSV + "five,b\n")
    second = ingest(layout, Settings(), str(source))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.rename", killed)
        with pytest.raises(KeyboardInterrupt):
            restore_version(layout, first)

    assert ingest(layout, Settings(), None) == second == data_hash(layout)
    assert restore_version(layout, first) == first
    assert (layout.raw / "train.csv").read_text() == CSV
