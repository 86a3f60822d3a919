"""Open DVC on a project, inside git or outside, without output or prompts.

Wait for DVC's lock.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dvc import prompt
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.scm import SCM, NoSCM, SCMError
from dvc.stage import PipelineStage, create_stage
from dvc.stage.cache import StageCache
from dvc.stage.loader import StageLoader
from dvc.ui import ui
from dvc_data.hashfile import _progress, load
from dvc_data.hashfile.checkout import CheckoutError, checkout
from dvc_data.hashfile.hash_info import HashInfo
from rich.console import Console

from tasks.versioning.dvc_backup import restored_on_error
from tokensieve.errors import InputError, causes
from tokensieve.project import Layout
from tokensieve.registry.store import without_password
from tokensieve.settings.params_file import parse

__all__ = [
    "Repo",
    "broken_git",
    "git_of",
    "one_line",
    "opened",
    "remote_of",
    "root_cause",
    "wait_for_lock",
    "write",
    "write_objects",
]
LOCK_SECONDS = 600


@contextlib.contextmanager
def opened(layout: Layout, git: bool = True) -> Iterator[Repo]:
    """Yield DVC's repository of the project.

    Args:
        layout: The project.
        git: Whether DVC uses the git repository around it. With it, DVC refuses to write .dvc
            files in folders that git ignores.

    Raises:
        InputError: If DVC fails. The message is one line, without passwords.
        LockError: If another process kept DVC's lock for longer than `LOCK_SECONDS`.
    """
    with _without_output():
        try:
            scm = (git_of(layout.root) if git else None) or NoSCM(str(layout.root))
            with Repo(str(layout.root), scm=scm) as repo:
                repo.stage_cache = _RunCache(repo)
                yield repo
        except LockError:
            raise
        except DvcException as error:
            if layout.params.name in str(error):
                parse(layout.params)  # its message has the line
            raise InputError(f"DVC: {one_line(error)}") from error


def remote_of(repo: Repo) -> tuple[str, str]:
    """Return the name and the address of the remote for data versions.

    Both are empty if there is none.
    """
    name = repo.config["core"].get("remote")
    return (str(name), str(repo.config["remote"][name]["url"])) if name else ("", "")


def write_objects(repo: Repo, version: str, folder: Path) -> None:
    """Write the files of the folder with DVC's hash `version` into `folder`.

    Files that the cache lacks are fetched from the remote. A pull would need a .dvc file in a
    folder that git does not ignore.

    Raises:
        Exception: If neither has them. It is DVC's own, or one of a remote's library.
    """
    cache, wanted = repo.cache.local, HashInfo("md5", version)
    with repo.lock:
        try:
            checkout(str(folder), repo.fs, load(cache, wanted), cache, force=True)
        except (OSError, CheckoutError):
            repo.cloud.pull([wanted])
            tree: Any = load(cache, wanted)
            repo.cloud.pull([found for _, _, found in tree])
            checkout(str(folder), repo.fs, tree, cache, force=True)


def write(layout: Layout, action: Callable[[], Any]) -> Any:
    """Return the result of an `action` of DVC that writes files, and wait for DVC's lock.

    If it fails, the files that DVC changes in place are as they were before.
    """
    with restored_on_error(layout):
        return wait_for_lock(action)


def wait_for_lock(action: Callable[[], Any]) -> Any:
    """Return the result of `action`. Call it again while another DVC process holds the lock."""
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return action()
        except LockError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def one_line(error: BaseException) -> str:
    """Return an error's message as one line.

    The password in the address of a remote is left out.
    """
    return without_password(" ".join(str(error).split())) or type(error).__name__


def root_cause(error: BaseException) -> str:
    """Return the message of the first error in the chain, as one line."""
    return one_line(list(causes(error))[-1])


def git_of(root: Path) -> SCM | None:
    """Return the git repository that contains the project.

    None if there is none, or if it ignores the project.
    """
    with _without_output():
        if broken_git(root):
            return None
        try:
            scm = SCM(str(root), search_parent_directories=True)
        except SCMError:
            return None
        return None if isinstance(scm, NoSCM) or scm.is_ignored(str(root / ".dvc")) else scm


def broken_git(root: Path) -> Path | None:
    """Return the nearest .git file above the project if its repository does not exist here.

    This is the case for a git worktree that is mounted without its repository.
    """
    found = next((parent / ".git" for parent in (root, *root.parents) if (parent / ".git").exists()), None)
    if found is None or found.is_dir():
        return None
    target = found.read_text(encoding="utf-8", errors="replace").removeprefix("gitdir:").strip()
    return None if (found.parent / target).exists() else found


class _RunCache(StageCache):  # type: ignore[misc]
    """DVC's run cache.

    DVC's own expects dvc.yaml in the working directory; this one reads the project's.
    """

    def _create_stage(self, cache: dict[str, Any], wdir: str | None = None) -> PipelineStage:
        outs = [out["path"] for out in cache["outs"]]
        path = str(Path(self.repo.root_dir) / "dvc.yaml")
        stage = create_stage(PipelineStage, self.repo, path, cmd=cache["cmd"], wdir=wdir, outs=outs)
        StageLoader.fill_from_lock(stage, cache)
        return stage


@contextlib.contextmanager
def _without_output() -> Iterator[None]:
    """Keep DVC from printing and from asking: on a terminal it would wait for an answer.

    Its errors are raised anyway.
    """
    loggers = {logger: logger.level for logger in map(logging.getLogger, ("dvc", "dvc_data", "dvc_objects"))}
    confirm, console, progress = prompt.confirm, ui.error_console, _progress.QueryingProgress
    for logger in loggers:
        # Above ERROR, DVC shows no progress bars: its locks and its files have one each.
        logger.setLevel(logging.CRITICAL)
    prompt.confirm, ui.error_console = (lambda _: False), Console(quiet=True)
    _progress.QueryingProgress = _Progress  # type: ignore[misc]
    try:
        yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)
        prompt.confirm, ui.error_console = confirm, console
        _progress.QueryingProgress = progress  # type: ignore[misc]


class _Progress(_progress.QueryingProgress):
    """DVC's progress bar for paths with braces: DVC's own takes them for fields of a format."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        if options.get("name"):
            options["name"] = options["name"].replace("{", "{{").replace("}", "}}")
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
