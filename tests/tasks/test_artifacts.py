"""Typed artifacts are read as they were written, and a file of another version is refused with the
remedy.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.artifacts import Champion, FittedRule, SplitSizes
from tokensieve.errors import InputError
from tokensieve.files import write_json


def test_an_artifact_is_read_as_it_was_written(tmp_path: Path) -> None:
    for artifact in (SplitSizes(8, 2, 4), FittedRule(1.5, 0.4, thresholds=(0.25, 0.5))):
        artifact.save(tmp_path / "new")
        assert type(artifact).load(tmp_path / "new") == artifact


@pytest.mark.parametrize("tree", [{"train": 8}, ["train"], 3])
def test_a_file_of_another_version_is_refused(tmp_path: Path, tree: object) -> None:
    with pytest.raises(InputError, match=r"sizes\.json is missing; run tokensieve run --force"):
        SplitSizes.load(tmp_path)
    write_json(tmp_path / SplitSizes.NAME, tree)
    with pytest.raises(InputError, match=r"sizes\.json was written by another version of tokensieve"):
        SplitSizes.load(tmp_path)


def test_the_champion_is_written_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "champion.json"
    assert Champion.load(path) is None
    Champion("cards", "1", ("a", "b"), "hash").save(path)
    before = path.stat().st_mtime_ns
    Champion("cards", "1", ("a", "b"), "hash").save(path)
    assert path.stat().st_mtime_ns == before
    assert Champion.load(path) == Champion("cards", "1", ("a", "b"), "hash")
    write_json(path, {})
    assert Champion.load(path) is None
