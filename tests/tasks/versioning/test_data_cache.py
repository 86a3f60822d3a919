"""Data that are damaged in DVC's cache or on its remote are not restored as if they were whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tasks.ingest import ingest
from tasks.versioning.data_cache import directory_hash
from tasks.versioning.data_versions import data_hash, restore_version
from tests.tasks.conftest import CSV
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.settings import Settings


@pytest.fixture
def versions(layout: Layout, source: Path) -> tuple[str, str]:
    """Two data versions; the second is present."""
    first = ingest(layout, Settings(), str(source))
    source.write_text(CSV + "five,b\n", encoding="utf-8")
    return first, ingest(layout, Settings(), str(source))


def test_the_hash_is_dvcs(layout: Layout, source: Path) -> None:
    (source.parent / "test.csv").write_text("text,label\nsix,a\n", encoding="utf-8")
    found = ingest(layout, Settings(), str(source), str(source.parent / "test.csv"))
    assert directory_hash(layout.raw) == found


def test_a_damaged_cache_is_filled_from_the_remote(layout: Layout, versions: tuple[str, str]) -> None:
    _damage(layout.at(".dvc", "cache"))
    restore_version(layout, versions[0])
    assert (layout.raw / "train.csv").read_text(encoding="utf-8") == CSV


def test_damage_in_cache_and_remote_is_named_and_the_present_data_stay(
    layout: Layout, versions: tuple[str, str], source: Path
) -> None:
    for folder in (".dvc/cache", "store"):
        _damage(layout.at(folder))
    with pytest.raises(InputError, match=r"is damaged on the DVC remote .*; delete there, in files/md5: "):
        restore_version(layout, versions[0])
    assert data_hash(layout) == versions[1]
    assert (layout.raw / "train.csv").read_text(encoding="utf-8") == CSV + "five,b\n"

    # The remedy of the message.
    shutil.rmtree(layout.at("store"))
    source.write_text(CSV, encoding="utf-8")
    assert ingest(layout, Settings(), str(source)) == versions[0]
    restore_version(layout, versions[1])
    shutil.rmtree(layout.at(".dvc", "cache"))
    restore_version(layout, versions[0])
    assert (layout.raw / "train.csv").read_text(encoding="utf-8") == CSV


def _damage(folder: Path) -> None:
    """Change a byte in the file that is the texts of `CSV`."""
    path = next(path for path in folder.rglob("*") if path.is_file() and path.read_bytes() == CSV.encode())
    path.chmod(0o644)
    path.write_bytes(CSV.replace("one", "two").encode())
