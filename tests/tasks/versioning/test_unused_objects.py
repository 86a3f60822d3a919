"""Objects in DVC's cache: the outputs of earlier runs are unused, and data versions never are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tasks.ingest import ingest
from tasks.versioning import dvc_pipeline
from tasks.versioning.data_versions import data_versions, restore_version
from tasks.versioning.dvc_repo import opened
from tasks.versioning.unused_objects import unused_objects
from tests.tasks.conftest import CSV
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.settings import Settings


@pytest.fixture
def project(layout: Layout, source: Path) -> Layout:
    """A project with two data versions, of each of which the stage validate has an output."""
    for number, text in enumerate((CSV, f"{CSV}one more text,refund\n")):
        source.write_text(text, encoding="utf-8")
        ingest(layout, Settings(), str(source))
        for path in (layout.champion, layout.base, layout.suite):
            path.write_text("{}")
        layout.validation.mkdir(parents=True, exist_ok=True)
        (layout.validation / "report.json").write_text(f"{number}" * 1000)
        with opened(layout) as repo:
            dvc_pipeline.record(layout, repo, "validate")
    return layout


def test_outputs_of_earlier_runs_are_unused_and_data_versions_are_not(project: Layout) -> None:
    unused = unused_objects(project)
    # The output is a folder: a file, and the listing.
    assert sorted(path.read_text()[:3] for path in unused) == ["000", '[{"']
    for path in unused:
        path.unlink()
    assert unused_objects(project) == []
    for version in data_versions(project):
        restore_version(project, version.data_hash)
    with opened(project) as repo:
        assert dvc_pipeline.is_current(project, repo, "validate")


def test_what_another_branch_of_git_names_is_used(project: Layout) -> None:
    def git(*command: str) -> None:
        subprocess.run(["git", *command], cwd=project.root, check=True, capture_output=True)

    git("init", "--initial-branch=main")
    git("config", "user.email", "tests@example.com")
    git("config", "user.name", "tests")
    git("add", ".")
    git("commit", "--message=second")
    assert unused_objects(project)
    git("checkout", "-b", "first")
    lock = project.lock.read_text()
    first = next(path for path in unused_objects(project) if path.read_text().startswith("[")).parts[-2:]
    present = lock.partition("path: artifacts/validation")[2].partition("md5: ")[2].split()[0]
    project.lock.write_text(lock.replace(present, "".join(first)))
    git("commit", "--all", "--message=first")
    git("checkout", "main")
    assert unused_objects(project) == []


def test_of_a_cache_outside_the_project_nothing_is_unused(project: Layout, tmp_path: Path) -> None:
    (project.root / ".dvc/cache").rename(tmp_path / "shared")
    with (project.root / ".dvc/config").open("a") as file:
        file.write(f"[cache]\n    dir = {tmp_path / 'shared'}\n")
    assert unused_objects(project) == []


def test_a_damaged_listing_is_named_and_nothing_is_unused(project: Layout) -> None:
    name = data_versions(project)[0].data_hash
    listing = project.root / ".dvc/cache/files/md5" / name[:2] / name[2:]
    listing.chmod(0o644)
    listing.write_text("[")
    with pytest.raises(InputError, match=f"{name[2:]}, listed by DVC, is damaged"):
        unused_objects(project)


def test_a_folder_that_is_no_project_yet_has_none(tmp_path: Path) -> None:
    assert unused_objects(Layout(tmp_path)) == []
