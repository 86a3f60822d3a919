"""Create and open a project folder: settings, pipeline, DVC and its remote, git's ignore files."""

from __future__ import annotations

import logging
from importlib.resources import files
from pathlib import Path

from configobj import ConfigObj

from tasks.projects.upgrade import never_cached, rename_settings
from tasks.versioning import git_files
from tasks.versioning.dvc_repo import broken_git, git_of, opened, remote_of
from tokensieve.disk import report_full_disk
from tokensieve.files import check_no_conflict_markers, write_text
from tokensieve.project import Layout
from tokensieve.settings import render

# DVC keeps the path relative to its own folder, so that a project can be moved.
CONFIG = """[core]
    analytics = False
    check_update = False
    remote = local
['remote "local"']
    url = ../store
"""

log = logging.getLogger("tokensieve")


def open_project(root: Path) -> Layout:
    """Return the project in folder `root`.

    Write the defaults of what it lacks: settings, pipeline, DVC and its remote. Inside a git
    repository that does not ignore the folder, DVC works with git, otherwise without.

    Raises:
        InputError: If git ignores a file that it must contain, if a file has the conflict marks of
            a merge, or if the disk is full.
    """
    layout = Layout(root.resolve())
    with report_full_disk(layout.root):
        layout.root.mkdir(parents=True, exist_ok=True)
        if not layout.params.exists():
            write_text(layout.params, render())
        if not layout.pipeline.exists():
            write_text(layout.pipeline, template().read_text(encoding="utf-8"))
        for path in (layout.pipeline, layout.lock, layout.raw_pointer):
            if path.exists():
                check_no_conflict_markers(path, path.read_text(encoding="utf-8", errors="replace"))
        never_cached(layout.pipeline, "register")
        rename_settings(layout)
        git, broken = git_of(layout.root), broken_git(layout.root)
        if broken:
            log.warning("%s names a repository that does not exist; going on without git", broken)
        git_files.write(layout, git is not None)
        if git is not None:
            git_files.refuse_ignored(layout)
        # With a broken .git file, DVC's configuration stays: on another machine, git is there.
        _configure_dvc(layout, without_git=git is None and broken is None)
    return layout


def dvc_remote(layout: Layout) -> tuple[str, str]:
    """Return the name and the address of the remote for data versions.

    Both are empty if there is none.
    """
    with opened(layout) as repo:
        return remote_of(repo)


def _configure_dvc(layout: Layout, without_git: bool) -> None:
    """Write DVC's configuration, or add what is missing: a remote, and whether git is used."""
    path = layout.at(".dvc", "config")
    if not path.exists() or not path.read_text(encoding="utf-8").strip():
        write_text(path, CONFIG)
    config = ConfigObj(path.read_text(encoding="utf-8").splitlines(), list_values=False)
    remote, _ = dvc_remote(layout)
    core = config.setdefault("core", {})
    if remote and (core.get("no_scm", "").lower() == "true") == without_git:
        return
    if not remote:
        config['remote "local"'] = {"url": "../store"}
        core["remote"] = "local"
    core.pop("no_scm", None)
    if without_git:
        core["no_scm"] = "True"
    write_text(path, "\n".join(config.write()) + "\n")


def template() -> Path:
    """Return the path of the dvc.yaml that new projects get."""
    packed = Path(str(files("tasks") / "dvc.yaml"))
    return packed if packed.exists() else packed.parent.parent / "dvc.yaml"
