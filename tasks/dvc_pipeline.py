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
from urllib.parse import urlsplit

import yaml
from configobj import ConfigObj
from dvc import prompt
from dvc.exceptions import CheckoutError, ConfirmRemoveError, DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import plan_repro
from dvc.scm import SCM, NoSCM, SCMError
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError
from dvc.ui import ui
from dvc_data.hashfile import _progress
from rich.console import Console

from tasks import dvc_files, git_files
from tasks.download import FetchError, fetch, public, revealed
from tokensieve.data.examples import FORMATS, part_files, read_examples
from tokensieve.disk import full_disk_error, report_full_disk
from tokensieve.errors import InputError, causes, excerpt
from tokensieve.files import CONFLICT_MARKERS, atomic_folder, check_no_conflict_markers, write_text
from tokensieve.project import Layout
from tokensieve.registry.store import without_password
from tokensieve.settings import Data, Settings, render

LOCK_SECONDS = 600
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
    """The project in folder `root`, made with the defaults where it lacks something: settings, pipeline, DVC and its remote.

    Inside a git repository that does not ignore the folder, DVC works with git; elsewhere without. The ignore files are
    brought up to date.

    Raises:
        InputError: If git ignores what it must keep, a merge left conflict marks, or the disk is full.
    """
    layout = Layout(root.resolve())
    with report_full_disk(layout.root):
        layout.root.mkdir(parents=True, exist_ok=True)
        if not layout.params.exists():
            write_text(layout.params, render())
        if not layout.pipeline.exists():
            write_text(layout.pipeline, _template().read_text(encoding="utf-8"))
        for path in (layout.pipeline, layout.lock, layout.raw_pointer):
            if path.exists():
                check_no_conflict_markers(path, path.read_text(encoding="utf-8", errors="replace"))
        with _quiet():
            git = _git(layout.root)
        broken = _broken_git(layout.root)
        if broken:
            log.warning("%s points to no repository; going on as outside git", broken)
        git_files.write(layout, git is not None)
        if git is not None:
            git_files.refuse_ignored(layout)
        # A worktree that is mounted alone is in git elsewhere.
        _configure(layout, outside=git is None and broken is None)
    return layout


def _configure(layout: Layout, outside: bool) -> None:
    """Make DVC's configuration, or add what it lacks: a remote, and whether there is git, which may come after the project."""
    path = layout.at(".dvc", "config")
    if not path.exists() or not path.read_text(encoding="utf-8").strip():
        write_text(path, CONFIG)
    config = ConfigObj(path.read_text(encoding="utf-8").splitlines(), list_values=False)
    with _repo(layout) as repo:
        remote = repo.config["core"].get("remote")
    core = config.setdefault("core", {})
    if remote and (core.get("no_scm", "").lower() == "true") == outside:
        return
    if not remote:
        config['remote "local"'] = {"url": "../store"}
        core["remote"] = "local"
    core.pop("no_scm", None)
    if outside:
        core["no_scm"] = "True"
    write_text(path, "\n".join(config.write()) + "\n")


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
        raise InputError(
            f"--data {path} does not exist; give a {', '.join(FORMATS)} file, a folder with train and test files, or a URL"
        )
    if test is not None:
        if not Path(test).is_file():
            raise InputError(f"--test {test} is no file; give a {', '.join(FORMATS)} file")
        found["test"] = Path(test)
    return found


def check(found: dict[str, Path], columns: Data) -> dict[str, int]:
    """The rows of each file to take in. Raises InputError as `read_examples`."""
    return {
        name: len(
            read_examples(path, columns.text, None if name == "oos" else columns.label, columns.separator)
        )
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
        local = {
            key: _fetched(layout, value, key, settings.data) if value and "://" in value else value
            for key, value in given
        }
        source, found = public(data), incoming(str(local["data"]), local["test"])
        rows = check(found, settings.data)
        with atomic_folder(layout.raw) as folder:
            for name, path in found.items():
                shutil.copyfile(path, folder / f"{name}{path.suffix.lower()}")
        shutil.rmtree(layout.fetched, ignore_errors=True)
    with _writing(layout) as repo:
        _waiting(lambda: repo.add([_target(layout, layout.raw)]))
    _push(layout)
    known = versions(layout)
    if data_hash(layout) not in [record["data_hash"] for record in known]:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        known.append({"data_hash": data_hash(layout), "date": now, "source": source, "rows": rows})
        write_text(
            layout.versions, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in known)
        )
    return data_hash(layout)


def _push(layout: Layout) -> None:
    """Put the present data on the remote. A remote that is down or refuses does not stop a run: the next one tries again."""
    name = "default"
    try:
        with _repo(layout) as repo:
            name = repo.config["core"].get("remote")
            _waiting(lambda: repo.push([_target(layout, layout.raw_pointer)]))
    except Exception as error:  # of any remote's library: they share no narrower base
        if full_disk_error(error, layout.root):
            raise
        log.warning(
            "data version %s was not pushed to the DVC remote '%s': %s; it is in this project alone until the next run or dvc push",
            data_hash(layout),
            name,
            _root_cause(error),
        )


def data_hash(layout: Layout) -> str:
    """DVC's content hash of the raw data. Raises InputError when there is none yet."""
    if not layout.raw_pointer.exists():
        raise InputError(f"{layout.root} has no data yet; give some with --data PATH")
    return str(yaml.safe_load(layout.raw_pointer.read_text(encoding="utf-8"))["outs"][0]["md5"])


def versions(layout: Layout) -> list[dict[str, Any]]:
    """The versions of the raw data this project has seen, oldest first."""
    if not layout.versions.exists():
        return []
    found: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(layout.versions.read_text(encoding="utf-8").splitlines(), 1):
        # Of a merge with conflicts, both sides hold.
        if not line.strip() or line.startswith(CONFLICT_MARKERS):
            continue
        try:
            record = json.loads(line)
            found.setdefault(record["data_hash"], record)
        except (ValueError, TypeError, KeyError):
            raise InputError(
                f"{layout.versions}, line {number}, is no data version; remove the line"
            ) from None
    return sorted(found.values(), key=lambda record: str(record.get("date")))


def remote(layout: Layout) -> tuple[str, str]:
    """Return the name and the address of the remote that keeps the data versions; empty if there is none."""
    with _repo(layout) as repo:
        name = repo.config["core"].get("remote")
        return (str(name), str(repo.config["remote"][name]["url"])) if name else ("", "")


def restore(layout: Layout, wanted: str) -> str:
    """Bring the raw data of an earlier hash (or of the only one that begins so) back, from the cache or the remote.

    Raises:
        InputError: no version, or more than one, begins so, or neither cache nor remote holds it. The data stays what it is.
    """
    known: list[str] = [record["data_hash"] for record in versions(layout)]
    matching = [found for found in known if found.startswith(wanted)] or (
        [wanted] if len(wanted) >= 32 else []
    )
    if len(matching) != 1:
        raise InputError(
            f"{len(matching)} data versions begin with {excerpt(wanted)}; known: {', '.join(known) or 'none'}"
        )
    layout.raw_pointer.parent.mkdir(parents=True, exist_ok=True)
    there = layout.raw_pointer.exists()
    try:
        with _writing(layout) as repo:
            write_text(
                layout.raw_pointer,
                yaml.safe_dump({"outs": [{"md5": matching[0], "hash": "md5", "path": "raw"}]}),
            )
            _waiting(lambda: repo.pull([_target(layout, layout.raw_pointer)], force=True))
    except Exception as error:  # DVC's, or of any remote's library
        if full_disk_error(error, layout.root):
            raise
        if there:
            _check_out(layout)
        raise InputError(
            f"data version {matching[0]} is neither in the project's cache nor on its remote ({_root_cause(error)}); if another machine "
            "has it, there: dvc remote add --default NAME URL, dvc push, and commit .dvc/config; then here the same command again. "
            f"Or give the data with --data PATH. Known: {', '.join(known) or 'none'}"
        ) from error
    return matching[0]


def _check_out(layout: Layout) -> None:
    """Bring the present data back from the cache, after DVC has taken it away; what is not in the cache stays away."""
    with contextlib.suppress(InputError), _repo(layout) as repo:
        _waiting(lambda: repo.checkout([_target(layout, layout.raw_pointer)], force=True))


def stages(layout: Layout) -> list[str]:
    """The stages of dvc.yaml, each after those it depends on."""
    with _repo(layout) as repo:
        planned = [stage for stage in plan_repro(repo.index.graph) if isinstance(stage, PipelineStage)]
        return [stage.name for stage in planned if Path(stage.dvcfile.path) == layout.pipeline]


def is_current(layout: Layout, name: str) -> bool:
    """Whether stage `name` has nothing to do: nothing changed, or a run of the same inputs is in DVC's run cache (it is
    brought back then). Outputs that somebody changed in place are not brought back: the stage makes them anew.

    A stage whose outputs are not cached is never brought back: the cache does not know what a registry has.
    """
    with _repo(layout) as repo:
        stage = _stage(repo, name)
        if not all(out.use_cache for out in stage.outs):
            return bool(_waiting(lambda: _unchanged(repo, stage)))

        def brought_back() -> bool | None:
            with repo.lock:
                if not stage.changed():
                    return None
                try:
                    repo.stage_cache.restore(stage)
                except ConfirmRemoveError:
                    log.warning(
                        "%s was changed by hand; stage %s makes it anew",
                        ", ".join(map(str, stage.outs)),
                        name,
                    )
                    return False
                except (RunCacheNotFoundError, CheckoutError):
                    return False
                return True

        found: bool | None = _waiting(brought_back)
    if found:
        # It is as if it had run now: dvc.lock must say so.
        commit(layout, name)
    return found is not False


def is_ours(layout: Layout, name: str) -> bool:
    """Whether stage `name` calls the function of that name. Others are the user's own, and run as DVC runs them."""
    tree = yaml.safe_load(layout.pipeline.read_text(encoding="utf-8"))
    stage = tree["stages"].get(name)
    return isinstance(stage, dict) and stage.get("cmd") == f"tokensieve stage {name}"


def reproduce(layout: Layout, name: str, force: bool = False) -> bool:
    """Run the user's own stage `name` as `dvc repro` would, if it is stale, and return whether it ran.

    Raises:
        InputError: If its command fails, or something that it reads or should write is not there.
    """
    with _writing(layout) as repo:
        stage = _stage(repo, name)

        def run() -> bool:
            with repo.lock:
                if not stage.reproduce(force=force):
                    return False
                stage.dump(update_pipeline=False)
                return True

        try:
            return bool(_waiting(run))
        except LockError:
            raise
        except DvcException as error:
            raise InputError(f"stage {name} of {layout.pipeline.name} failed: {_line(error)}") from error


def is_unchanged(layout: Layout, name: str) -> bool:
    """Whether stage `name` has run on what is there now, and its outputs are what it made. Nothing is brought back."""
    with _repo(layout) as repo:
        stage = _stage(repo, name)
        return bool(_waiting(lambda: _unchanged(repo, stage)))


def _unchanged(repo: Repo, stage: Any) -> bool:
    stage.always_changed = (
        False  # `dvc repro` runs it each time; whether a run of ours must is asked of the registry as well
    )
    with repo.lock:
        return not stage.changed()


def inputs(layout: Layout, name: str) -> dict[str, Any]:
    """What stage `name` reads, with its hash or, for settings, its values, as they are now.

    Raises:
        InputError: a file that it reads is not there.
    """
    with _repo(layout) as repo:
        stage = _stage(repo, name)
        for dependency in stage.deps:
            if not dependency.exists:
                raw = str(dependency) == "data/raw"
                remedy = "give data with --data PATH" if raw else "run the stages before it (tokensieve run)"
                raise InputError(f"stage {name} needs {dependency}, which is not there; {remedy}")
        _waiting(lambda: _saved(repo, stage))
        return {str(dependency): dependency.hash_info.value for dependency in stage.deps}


def _stage(repo: Repo, name: str) -> Any:
    # By the name of the file in the working directory: DVC cuts paths at an @.
    return repo.stage.load_one("dvc.yaml", name)


def _saved(repo: Repo, stage: Any) -> None:
    with repo.lock:
        stage.save_deps()


def commit(layout: Layout, name: str) -> None:
    """Record in dvc.lock that stage `name` has run on what is there now, and put its outputs into the cache."""
    with _writing(layout) as repo:
        _waiting(lambda: repo.commit(f"dvc.yaml:{name}", force=True))


def _fetched(layout: Layout, url: str, key: str, columns: Data) -> str:
    """A local copy of `url`: a file from http(s), which is kept only until it is taken in, or what DVC imports from elsewhere."""
    url = revealed(url)
    for pointer in layout.at("data", "source").glob("*/*.dvc"):
        # Earlier versions wrote addresses with their passwords into pointers.
        if "path: http" in pointer.read_text(encoding="utf-8"):
            pointer.unlink()
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        return str(fetch(url, layout.fetched / key, f"--{key}", columns.format))
    if parts.password:
        raise InputError(
            f"--{key} {public(url)}: its password would be written to a file; give it as {parts.scheme}'s own client reads it"
        )
    return _imported(layout, url, key)


def _imported(layout: Layout, url: str, key: str) -> str:
    """A copy of `url` under data/source, imported by DVC and brought up to date if it was imported before."""
    name = url.rstrip("/").rsplit("/", 1)[-1]
    out = layout.at("data", "source", key, name if name.lower().endswith(FORMATS) else "folder")
    pointer = out.with_name(f"{out.name}.dvc")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _repo(layout) as repo:
            if (
                pointer.exists()
                and yaml.safe_load(pointer.read_text(encoding="utf-8"))["deps"][0]["path"] == url
            ):
                _waiting(lambda: repo.update([_target(layout, pointer)]))
            else:
                pointer.unlink(missing_ok=True)
                _waiting(lambda: repo.imp_url(url, _target(layout, out), force=True))
    except Exception as error:  # DVC's, or of any remote's library
        if full_disk_error(error, layout.root):
            raise
        raise _import_error(url, key, error) from error
    return str(out)


def _import_error(url: str, key: str, error: Exception) -> InputError:
    shown, scheme = f"--{key} {public(url)}", urlsplit(url).scheme
    reason = _root_cause(error).replace(without_password(url), public(url))
    if "missing dependencies" in str(error) or isinstance(error, ImportError):
        return InputError(
            f"{shown}: reading {scheme}:// needs a package that is not installed: pip install 'dvc[{scheme}]'"
        )
    return FetchError(f"{shown} could not be fetched: {reason}")


@contextlib.contextmanager
def _repo(layout: Layout) -> Iterator[Repo]:
    """DVC on the project. What goes wrong in it is raised as an InputError in one line, but a lock that another process holds."""
    # DVC's run cache finds a stage's files from the working directory only.
    with _quiet(), contextlib.chdir(layout.root):
        try:
            with Repo(str(layout.root), scm=_git(layout.root) or NoSCM(str(layout.root))) as repo:
                yield repo
        except LockError:
            raise
        except DvcException as error:
            raise InputError(f"DVC: {_line(error)}") from error


@contextlib.contextmanager
def _writing(layout: Layout) -> Iterator[Repo]:
    """As `_repo`; if the block fails, the files that DVC writes in place are as before."""
    with dvc_files.kept(layout), _repo(layout) as repo:
        yield repo


def _target(layout: Layout, path: Path) -> str:
    """How DVC is given a path: from the project's folder, which is the working directory. It cuts paths at an @."""
    return path.relative_to(layout.root).as_posix()


def _line(error: BaseException) -> str:
    """Return an error's message as one line, without the credentials of an address of a remote in it."""
    return without_password(" ".join(str(error).split())) or type(error).__name__


def _root_cause(error: BaseException) -> str:
    """Return the message of the error that the others were raised from."""
    return _line(list(causes(error))[-1])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Within it, DVC prints nothing and asks nothing: on a terminal it would wait for an answer. Its errors are raised anyway."""
    loggers = {logger: logger.level for logger in map(logging.getLogger, ("dvc", "dvc_data", "dvc_objects"))}
    confirm, console, progress = prompt.confirm, ui.error_console, _progress.QueryingProgress
    for logger in loggers:
        # Above ERROR, DVC shows no bars: its locks and its files have one each.
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
    """DVC's progress bar, which takes the braces in a path for fields of a format."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        if options.get("name"):
            options["name"] = options["name"].replace("{", "{{").replace("}", "}}")
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]


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


def _git(root: Path) -> SCM | None:
    """The git repository that the project is in; None if there is none, or it ignores the project."""
    if _broken_git(root):
        return None
    try:
        scm = SCM(str(root), search_parent_directories=True)
    except SCMError:
        return None
    return None if isinstance(scm, NoSCM) or scm.is_ignored(str(root / ".dvc")) else scm


def _broken_git(root: Path) -> Path | None:
    """The nearest .git above the project, if it leads to no repository: a worktree's file whose repository is not here."""
    found = next((parent / ".git" for parent in (root, *root.parents) if (parent / ".git").exists()), None)
    if found is None or found.is_dir():
        return None
    target = found.read_text(encoding="utf-8", errors="replace").removeprefix("gitdir:").strip()
    return None if (found.parent / target).exists() else found


def _template() -> Path:
    packed = Path(str(files("tasks") / "dvc.yaml"))
    return packed if packed.exists() else packed.parent.parent / "dvc.yaml"
