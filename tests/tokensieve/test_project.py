from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from tokensieve.project import Layout

PATHS = [name for name, value in vars(Layout).items() if isinstance(value, property)]


def test_every_path_is_in_the_project_and_no_two_are_the_same(tmp_path: Path) -> None:
    found = [getattr(Layout(tmp_path), name) for name in PATHS]
    assert len(set(found)) == len(found) > 10
    assert all(path.is_relative_to(tmp_path) and path != tmp_path for path in found)


def test_asking_for_paths_makes_nothing(tmp_path: Path) -> None:
    for name in PATHS:
        getattr(Layout(tmp_path), name)
    assert list(tmp_path.iterdir()) == []


def test_no_stage_folder_contains_another(tmp_path: Path) -> None:
    folders = [path for path in (getattr(Layout(tmp_path), name) for name in PATHS) if not path.suffix]
    assert not [(a, b) for a in folders for b in folders if a != b and a.is_relative_to(b)]


def test_a_layout_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(FrozenInstanceError):
        Layout(tmp_path).root = tmp_path / "other"  # type: ignore[misc]
