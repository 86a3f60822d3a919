"""DVC, and the only module that imports it: the raw data under a content hash, and which stages are stale.

dvc.yaml owns the edges. A stage that runs in this process is committed to dvc.lock as `dvc repro` would, so that both see
each other's results.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import plan_repro
from dvc.scm import SCM, NoSCM, SCMError
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError

from tokensieve.dataset import FORMATS, part_files, read_examples
from tokensieve.errors import InputError, excerpt
from tokensieve.folder import replaced
from tokensieve.layout import Layout
from tokensieve.settings import Data, Settings, render


class FetchError(InputError, ConnectionError):
    """A URL that gives nothing: it may be wrong, or its server away for a moment, so a scheduled run tries again."""


LOCK_SECONDS = 600
# DVC would take the copy of dvc.yaml that a run logs for a pipeline of this project.
NOT_DVCS = "/.tokensieve/\n/mlartifacts/\n/store/\n"
IGNORED = "/.tokensieve/\n/artifacts/\n/data/raw/\n/data/source/\n/mlartifacts/\n/mlflow.db\n/store/\n"


def open_project(root: Path) -> Layout:
    """The project in folder `root`, made with the defaults where it lacks something: settings, pipeline, DVC and its remote.

    Inside a git repository that does not ignore the folder, DVC works with git; elsewhere without.
    """
    layout = Layout(root.resolve())
    layout.root.mkdir(parents=True, exist_ok=True)
    if not layout.params.exists():
        layout.params.write_text(render(), encoding="utf-8")
    if not layout.pipeline.exists():
        layout.pipeline.write_text(_template().read_text(encoding="utf-8"), encoding="utf-8")
    if not layout.at(".gitignore").exists():
        layout.at(".gitignore").write_text(IGNORED, encoding="utf-8")
    with _quiet(), contextlib.chdir(layout.root):
        if not layout.at(".dvc").exists():
            with Repo.init(str(layout.root), **_scm(layout.root)) as repo, repo.config.edit() as config:
                config["core"] |= {"analytics": False, "check_update": False}
            layout.at(".dvcignore").write_text(NOT_DVCS, encoding="utf-8")
        with Repo(str(layout.root)) as repo:
            if not repo.config["core"].get("remote"):
                with repo.config.edit() as config:
                    # DVC keeps the path relative to its own folder, so that a project can be moved.
                    config["remote"]["local"] = {"url": "store"}
                    config["core"]["remote"] = "local"
    return layout


def incoming(data: str, test: str | None = None) -> dict[str, Path]:
    """The files to take in by part, from a file or a folder, with `test` as the test part.

    Raises:
        InputError: nothing there, a format or a folder that is not understood.
    """
    path = Path(data)
    if path.is_dir():
        found = part_files(path)
    elif path.exists():
        found = {"train": path}
    else:
        raise InputError(f"--data {path} does not exist; give a {', '.join(FORMATS)} file, a folder with train and test files, or a URL")
    if test is not None:
        if not Path(test).is_file():
            raise InputError(f"--test {test} is no file; give a {', '.join(FORMATS)} file")
        found["test"] = Path(test)
    return found


def check(found: dict[str, Path], columns: Data) -> dict[str, int]:
    """The rows of each file to take in. Raises InputError as `read_examples`."""
    return {
        name: len(read_examples(path, columns.text, None if name == "oos" else columns.label, columns.separator))
        for name, path in found.items()
    }


def version(layout: Layout, settings: Settings, data: str | None, test: str | None = None) -> str:
    """Take `data` (path or URL) in as the project's raw data, under DVC and on its remote; returns the data hash.

    Without `data`, the raw data is what stands in the project now, edited by hand or not. A file that cannot be read is
    refused before anything is replaced.
    """
    if data is None:
        if not layout.raw.exists():
            restore(layout, data_hash(layout))
        source, found = str(layout.raw), part_files(layout.raw)
        rows = check(found, settings.data)
    else:
        given = (("data", data), ("test", test))
        local = {key: _fetched(layout, value, key) if value and "://" in value else value for key, value in given}
        source, found = _public(data), incoming(str(local["data"]), local["test"])
        rows = check(found, settings.data)
        with replaced(layout.raw) as folder:
            for name, path in found.items():
                shutil.copyfile(path, folder / f"{name}{path.suffix.lower()}")
    with _repo(layout) as repo:
        _waiting(lambda: repo.add([str(layout.raw)]))
        _waiting(lambda: repo.push([str(layout.raw_pointer)]))
    known = versions(layout)
    if data_hash(layout) not in [record["data_hash"] for record in known]:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        known.append({"data_hash": data_hash(layout), "date": now, "source": source, "rows": rows})
        beside = layout.versions.with_suffix(".tmp")
        beside.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in known), encoding="utf-8")
        beside.replace(layout.versions)
    return data_hash(layout)


def data_hash(layout: Layout) -> str:
    """DVC's content hash of the raw data. Raises InputError when there is none yet."""
    if not layout.raw_pointer.exists():
        raise InputError(f"{layout.root} has no data yet; give some with --data PATH")
    return str(yaml.safe_load(layout.raw_pointer.read_text(encoding="utf-8"))["outs"][0]["md5"])


def versions(layout: Layout) -> list[dict[str, Any]]:
    """The versions of the raw data this project has seen, oldest first."""
    if not layout.versions.exists():
        return []
    return [json.loads(line) for line in layout.versions.read_text(encoding="utf-8").splitlines()]


def restore(layout: Layout, wanted: str) -> str:
    """Bring the raw data of an earlier hash (or of the only one that begins so) back, from the cache or the remote.

    Raises:
        InputError: no version, or more than one, begins so, or neither cache nor remote holds it. The data stays what it is.
    """
    known: list[str] = [record["data_hash"] for record in versions(layout)]
    matching = [found for found in known if found.startswith(wanted)] or ([wanted] if len(wanted) >= 32 else [])
    if len(matching) != 1:
        raise InputError(f"{len(matching)} data versions begin with {excerpt(wanted)}; known: {', '.join(known) or 'none'}")
    before = layout.raw_pointer.read_text(encoding="utf-8") if layout.raw_pointer.exists() else None
    layout.raw_pointer.parent.mkdir(parents=True, exist_ok=True)
    layout.raw_pointer.write_text(yaml.safe_dump({"outs": [{"md5": matching[0], "hash": "md5", "path": "raw"}]}), encoding="utf-8")
    try:
        with _repo(layout) as repo:
            _waiting(lambda: repo.pull([str(layout.raw_pointer)], force=True))
    except DvcException as error:
        # DVC has taken the present data away by now; it is in the cache.
        if before is None:
            layout.raw_pointer.unlink()
        else:
            layout.raw_pointer.write_text(before, encoding="utf-8")
            with _repo(layout) as repo:
                _waiting(lambda: repo.checkout([str(layout.raw_pointer)], force=True))
        raise InputError(
            f"data version {matching[0]} is neither in the project's cache nor on its remote; known: {', '.join(known)}"
        ) from error
    return matching[0]


def stages(layout: Layout) -> list[str]:
    """The stages of dvc.yaml, each after those it depends on."""
    with _repo(layout) as repo:
        planned = [stage for stage in plan_repro(repo.index.graph) if isinstance(stage, PipelineStage)]
        return [stage.name for stage in planned if Path(stage.dvcfile.path) == layout.pipeline]


def is_current(layout: Layout, name: str) -> bool:
    """Whether stage `name` has nothing to do: nothing changed, or a run of the same inputs is in DVC's run cache (it is
    brought back then)."""
    with _repo(layout) as repo:
        stage = repo.stage.load_one(str(layout.pipeline), name)

        def brought_back() -> bool | None:
            with repo.lock:
                if not stage.changed():
                    return None
                try:
                    repo.stage_cache.restore(stage)
                except RunCacheNotFoundError:
                    return False
                return True

        found: bool | None = _waiting(brought_back)
    if found:
        # It is as if it had run now: dvc.lock must say so.
        commit(layout, name)
    return found is not False


def inputs(layout: Layout, name: str) -> dict[str, Any]:
    """What stage `name` reads, with its hash or, for settings, its values, as they are now.

    Raises:
        InputError: a file that it reads is not there.
    """
    with _repo(layout) as repo:
        stage = repo.stage.load_one(str(layout.pipeline), name)
        for dependency in stage.deps:
            if not dependency.exists:
                remedy = "give data with --data PATH" if str(dependency).startswith("data") else "run the stages before it (tokensieve run)"
                raise InputError(f"stage {name} needs {dependency}, which is not there; {remedy}")
        _waiting(lambda: _saved(repo, stage))
        return {str(dependency): dependency.hash_info.value for dependency in stage.deps}


def _saved(repo: Repo, stage: Any) -> None:
    with repo.lock:
        stage.save_deps()


def commit(layout: Layout, name: str) -> None:
    """Record in dvc.lock that stage `name` has run on what is there now, and put its outputs into the cache."""
    with _repo(layout) as repo:
        _waiting(lambda: repo.commit(f"{layout.pipeline}:{name}", force=True))


def _fetched(layout: Layout, url: str, key: str) -> str:
    """A local copy of `url`, imported by DVC (and brought up to date where it was imported before)."""
    name = url.split("?", 1)[0].rstrip("/").rsplit("/", 1)[-1]
    out = layout.at("data", "source", key, name if name.lower().endswith(FORMATS) else "folder")
    pointer = out.with_name(f"{out.name}.dvc")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _repo(layout) as repo:
            if pointer.exists() and yaml.safe_load(pointer.read_text(encoding="utf-8"))["deps"][0]["path"] == url:
                _waiting(lambda: repo.update([str(pointer)]))
            else:
                pointer.unlink(missing_ok=True)
                _waiting(lambda: repo.imp_url(url, str(out), force=True))
    except (DvcException, OSError) as error:
        reason = " ".join(str(error).split()).replace(url, _public(url)) or type(error).__name__
        raise FetchError(f"--{key} {_public(url)} could not be fetched: {reason}") from error
    return str(out)


def _public(address: str) -> str:
    """A path as it is; a URL without what may be a password or a signature."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rsplit("@", 1)[-1], parts.path, "", ""))


@contextlib.contextmanager
def _repo(layout: Layout) -> Iterator[Repo]:
    # DVC's run cache finds a stage's files from the working directory only.
    with _quiet(), contextlib.chdir(layout.root), Repo(str(layout.root)) as repo:
        yield repo


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("dvc")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _waiting(action: Callable[[], Any]) -> Any:
    """The result of `action`, tried again while another DVC process holds the lock."""
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return action()
        except LockError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def _scm(root: Path) -> dict[str, bool]:
    try:
        scm = SCM(str(root), search_parent_directories=True)
    except SCMError:
        return {"no_scm": True}
    if isinstance(scm, NoSCM) or scm.is_ignored(str(root / ".dvc")):
        return {"no_scm": True}
    return {"subdir": True}


def _template() -> Path:
    packed = Path(str(files("tasks") / "dvc.yaml"))
    return packed if packed.exists() else packed.parent.parent / "dvc.yaml"
