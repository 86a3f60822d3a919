"""The pipeline in dvc.yaml: the order of its stages, which are stale, and the record of a run.

A stage that runs in this process is recorded in dvc.lock as `dvc repro` would record it.
So `tokensieve run` and `dvc repro` see each other's results.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from dvc.exceptions import CheckoutError, ConfirmRemoveError, DvcException
from dvc.lock import LockError
from dvc.repo import Repo, lock_repo
from dvc.repo.reproduce import plan_repro
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError

from tasks.versioning.dvc_repo import one_line, opened, wait_for_lock, write
from tokensieve.errors import InputError
from tokensieve.project import Layout

log = logging.getLogger("tokensieve")


def stage_names(layout: Layout) -> list[str]:
    """Return the stages of dvc.yaml, each after the stages that it depends on."""
    with opened(layout) as repo:
        planned = [stage for stage in plan_repro(repo.index.graph) if isinstance(stage, PipelineStage)]
        return [stage.name for stage in planned if Path(stage.dvcfile.path) == layout.pipeline]


def is_ours(layout: Layout, name: str) -> bool:
    """Return whether stage `name` calls the function of that name.

    Other stages are the user's own.
    """
    tree = yaml.safe_load(layout.pipeline.read_text(encoding="utf-8"))
    stage = tree["stages"].get(name)
    return isinstance(stage, dict) and stage.get("cmd") == f"tokensieve stage {name}"


def inputs(layout: Layout, repo: Repo, name: str) -> dict[str, Any]:
    """Return the inputs of stage `name`: hashes of files and folders, and values of settings.

    Raises:
        InputError: If a file that it reads is missing.
    """
    stage = _stage(layout, repo, name)
    for dependency in stage.deps:
        if not dependency.exists:
            remedy = (
                "add data with --data PATH"
                if str(dependency) == "data/raw"
                else "run the stages before it (tokensieve run)"
            )
            raise InputError(f"stage {name} needs {dependency}, which is missing; {remedy}")
    wait_for_lock(lambda: _locked(repo, stage.save_deps))
    return {str(dependency): dependency.hash_info.value for dependency in stage.deps}


def is_unchanged(layout: Layout, repo: Repo, name: str) -> bool:
    """Return whether stage `name` has run on its present inputs and its outputs are unchanged."""
    return not _has_changed(repo, _stage(layout, repo, name))


def stale_stages(layout: Layout, names: Sequence[str]) -> set[str]:
    """Return which of the stages `names`, in their order, have something to do.

    These are the stages that are not unchanged, and those that read what they write. Nothing is
    restored from DVC's cache.

    Raises:
        InputError: If DVC fails.
    """
    stale, written = set[str](), set[Path]()
    with opened(layout) as repo:
        # One by one, DVC would read dvc.yaml and dvc.lock for each of them.
        # Other folders may have a dvc.yaml too.
        pipeline = layout.pipeline.resolve()
        stages = {
            stage.name: stage
            for stage in repo.index.stages
            if isinstance(stage, PipelineStage) and Path(stage.path).resolve() == pipeline
        }
        for name in names:
            stage = stages[name]
            read = [Path(dependency.fs_path) for dependency in stage.deps if dependency.fs_path]
            reads_new = any(path == out or out in path.parents for path in read for out in written)
            if reads_new or _has_changed(repo, stage):
                stale.add(name)
                written |= {Path(out.fs_path) for out in stage.outs}
    return stale


def is_current(layout: Layout, repo: Repo, name: str) -> bool:
    """Restore the outputs of stage `name` from DVC's run cache if possible.

    Return whether the stage then has nothing to do. Outputs that somebody changed in place are not
    restored: the stage writes them again. The outputs of a stage without a cache are not restored
    either: a cache does not contain what a registry has.
    """
    stage = _stage(layout, repo, name)
    if not all(out.use_cache for out in stage.outs):
        return is_unchanged(layout, repo, name)
    if not wait_for_lock(lambda: _locked(repo, stage.changed)):
        return True
    try:
        wait_for_lock(lambda: _locked(repo, repo.stage_cache.restore, stage))
    except ConfirmRemoveError:
        changed = ", ".join(map(str, stage.outs))
        log.warning("%s was changed by hand; stage %s writes it again", changed, name)
        return False
    except (RunCacheNotFoundError, CheckoutError):
        return False
    record(layout, repo, name)
    return True


def record(layout: Layout, repo: Repo, name: str) -> None:
    """Record in dvc.lock that stage `name` has run on its present inputs. Cache its outputs."""
    stage = _stage(layout, repo, name)

    def save() -> None:
        stage.save()
        stage.commit()
        stage.dvcfile.dump_stages([stage], update_pipeline=False)

    write(layout, lambda: _locked(repo, save))


def reproduce(layout: Layout, repo: Repo, name: str, force: bool = False) -> bool:
    """Run the user's own stage `name` as `dvc repro` does, if it is stale. Return whether it ran.

    Raises:
        InputError: If its command fails, or if one of its inputs or outputs is missing.
    """
    stage = _stage(layout, repo, name)

    def run() -> bool:
        if not stage.reproduce(force=force):
            return False
        stage.dump(update_pipeline=False)
        return True

    try:
        return bool(write(layout, lambda: _locked(repo, run)))
    except LockError:
        raise
    except DvcException as error:
        raise InputError(f"stage {name} of {layout.pipeline.name} failed: {one_line(error)}") from error


def _has_changed(repo: Repo, stage: Any) -> bool:
    # `dvc repro` always runs such a stage. For us, the caller asks the registry in addition.
    stage.always_changed = False
    return bool(wait_for_lock(lambda: _locked(repo, stage.changed)))


def _stage(layout: Layout, repo: Repo, name: str) -> Any:
    """Read stage `name` from dvc.yaml, which a user may change while another stage runs."""
    return repo.stage.load_one(str(layout.pipeline), name)


def _locked(repo: Repo, action: Any, *arguments: Any) -> Any:
    with lock_repo(repo):
        return action(*arguments)
