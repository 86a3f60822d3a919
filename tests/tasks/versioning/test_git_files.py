"""What git would take of a project: never data, caches or secrets, always the pointers."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tasks.ingest import ingest
from tasks.projects.project import open_project
from tasks.versioning.data_versions import data_hash, data_versions
from tokensieve.errors import InputError
from tokensieve.project import Layout
from tokensieve.settings import Settings

CSV = "text,label\none,a\ntwo,a\nthree,b\nfour,b\n"


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    return subprocess.check_output(
        ["git", *identity, "-C", str(folder), *arguments], text=True, stderr=subprocess.STDOUT
    )


def untracked(folder: Path) -> set[str]:
    return set(git(folder, "ls-files", "-o", "--exclude-standard").split())


KEPT = {"data/raw.dvc", "data/versions.jsonl", "dvc.yaml", "params.yaml", ".dvc/config", ".dvc/.gitignore"}


def test_git_that_comes_after_the_project_finds_no_data_and_no_cache(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "project"
    ingest(open_project(root), Settings(), str(source))
    git(tmp_path, "init", "--quiet", str(root))
    ingest(open_project(root), Settings(), None)

    found = untracked(root)
    assert found >= KEPT
    assert not [
        name
        for name in found
        if name.startswith((".dvc/cache", ".dvc/tmp", "store", "data/raw/", ".tokensieve", "mlflow"))
    ]
    assert "no_scm" not in (root / ".dvc" / "config").read_text()


def test_missing_lines_are_added_once_to_an_existing_ignore_file(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    git(tmp_path, "init", "--quiet", str(root))
    (root / ".gitignore").write_text("artifacts\n*.pyc")
    for _ in range(2):
        ingest(open_project(root), Settings(), str(source))
    lines = (root / ".gitignore").read_text().splitlines()
    assert lines[:2] == ["artifacts", "*.pyc"]
    assert len(lines) == len(set(lines))
    assert {"/store/", "/data/source/"} <= set(lines)
    assert "/artifacts/" not in lines
    assert not [name for name in untracked(root) if name.startswith("store")]


@pytest.mark.parametrize("pattern", ["data/", "/data/*", "dvc.lock"])
def test_a_repository_that_ignores_required_files_is_refused_with_the_remedy(
    tmp_path: Path, source: Path, pattern: str
) -> None:
    git(tmp_path, "init", "--quiet", str(tmp_path))
    (tmp_path / ".gitignore").write_text(f"{pattern}\n")
    with pytest.raises(InputError, match=r"git ignores .* \(.gitignore, line 1: .*at the end of") as caught:
        open_project(tmp_path)
    with (tmp_path / ".gitignore").open("a") as file:
        file.write("\n".join(re.findall(r"'(!/[^']*)'", str(caught.value))) + "\n")
    ingest(open_project(tmp_path), Settings(), str(source))
    assert "data/raw.dvc" in untracked(tmp_path)


@pytest.mark.parametrize("made_in_git", [False, True])
def test_a_git_file_that_points_nowhere_is_as_no_git(
    tmp_path: Path, source: Path, made_in_git: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if made_in_git:
        git(tmp_path, "init", "--quiet", str(tmp_path))
        open_project(tmp_path)
        (tmp_path / ".git").rename(tmp_path / "elsewhere")
    (tmp_path / ".git").write_text("gitdir: /nowhere/.git/worktrees/alone\n")
    config = tmp_path / ".dvc" / "config"
    before = config.read_text() if made_in_git else None
    ingest(open_project(tmp_path), Settings(), str(source))
    assert f"{tmp_path / '.git'} names a repository that does not exist" in caplog.text
    assert before in (None, config.read_text()), "the repository that it belongs to keeps its configuration"


def test_versions_of_the_data_merge(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "project"
    git(tmp_path, "init", "--quiet", "--initial-branch=one", str(root))
    ingest(open_project(root), Settings(), str(source))
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "first")
    for branch, text in (("two", "five,b\n"), ("three", "six,a\n")):
        git(root, "checkout", "--quiet", "-b", branch, "one")
        source.write_text(CSV + text)
        ingest(open_project(root), Settings(), str(source))
        git(root, "commit", "--quiet", "-am", branch)
    with pytest.raises(subprocess.CalledProcessError):
        git(root, "merge", "two")
    assert len(data_versions(Layout(root))) == 3
    assert "versions.jsonl" not in git(root, "diff", "--name-only", "--diff-filter=U")
    with pytest.raises(InputError, match=r"data/raw.dvc, line 2: unresolved merge conflict; keep one side"):
        open_project(root)
    git(root, "checkout", "--theirs", "data/raw.dvc")
    assert ingest(open_project(root), Settings(), None)


def test_conflict_markers_are_reported_with_their_file(tmp_path: Path, source: Path) -> None:
    layout = open_project(tmp_path / "project")
    ingest(layout, Settings(), str(source))
    record = layout.versions.read_text()
    other = record.replace(data_hash(layout), "0" * 32 + ".dir")
    layout.versions.write_text(f"<<<<<<< HEAD\n{record}=======\n{other}>>>>>>> two\n")
    assert len(data_versions(layout)) == 2
    for path in (layout.lock, layout.pipeline):
        before = path.read_text() if path.exists() else ""
        path.write_text("<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> two\n")
        with pytest.raises(InputError, match=rf"{path.name}, line 1: unresolved merge conflict"):
            open_project(layout.root)
        path.write_text(before)
    layout.params.write_text("finetune:\n<<<<<<< HEAD\n  epochs: 1\n=======\n  epochs: 2\n>>>>>>> two\n")
    with pytest.raises(InputError, match=r"params.yaml, line 2: unresolved merge conflict"):
        Settings.load(layout.params)
