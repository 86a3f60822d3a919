"""The command line. Each command imports what it needs when it runs, so that `predict` starts without torch or Prefect."""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from flows import commands as champion_command
from tokensieve import __version__
from tokensieve.cli import check as check_command
from tokensieve.cli import doctor as doctor_command
from tokensieve.cli import patch
from tokensieve.cli import predict as predict_command
from tokensieve.cli import serve as serve_command
from tokensieve.cli.interrupts import Interrupts, watched
from tokensieve.disk import check_writable, full_disk_error, permission_error
from tokensieve.errors import InputError
from tokensieve.project import Layout

if TYPE_CHECKING:
    from tokensieve.registry.models import Registry
    from tokensieve.server.model_watcher import ModelSource

Command = Callable[[argparse.Namespace, Callable[[str], None]], int | None]
MISTAKE, FAILURE = 2, 1
_START = time.perf_counter()

log = logging.getLogger("tokensieve")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, 2 for what the user can mend, 1 for what we must, 130 or 143 after a signal."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if "command" not in options:
        parser.print_help()
        return 0
    _log_to_stderr()
    _quiet_prefect(options.debug)
    if options.command is serve:
        # The server handles signals itself: it answers the requests that it has begun.
        return _status(options, Interrupts())
    with watched() as interrupts:
        status = _status(options, interrupts)
        if interrupts.number:
            interrupts.announce()
            status = interrupts.status
            if arguments is None:
                # As a program: threads that compute or wait for a server would hold up Python's own end.
                interrupts.end()
    if arguments is None:
        # Otherwise a last garbage collection of the libraries' objects takes a second.
        gc.freeze()
    return status


def _status(options: argparse.Namespace, interrupts: Interrupts) -> int:
    """Run a command and return its exit status. What it raises after a signal does not count."""
    try:
        with _only_the_answer_on_stdout() as answer:
            return int(options.command(options, answer) or 0)
    except KeyboardInterrupt:
        # Perhaps of a library that has replaced our handler.
        interrupts.number = interrupts.number or signal.SIGINT
        return interrupts.status
    except Exception as error:
        if interrupts.number:
            return interrupts.status
        if options.debug:
            raise
        if isinstance(error, InputError):
            print("\n".join(filter(None, [f"tokensieve: {error}", error.detail])), file=sys.stderr)
            return MISTAKE
        project = Path(getattr(options, "project", "."))
        if told := full_disk_error(error, project) or permission_error(error, project):
            print(f"tokensieve: {told}", file=sys.stderr)
            return MISTAKE
        print(f"tokensieve: {type(error).__name__}: {error}; --debug shows where", file=sys.stderr)
        return FAILURE


def init(options: argparse.Namespace, answer: Callable[[str], None]) -> None:
    """Make a project folder with the default settings; with --data, take the data in."""
    options.project = options.folder
    layout = _opened(options)
    if options.data:
        version(options, answer)
    else:
        with _settings(options, layout):
            pass
    answer(
        f"{layout.root} is ready; settings: {layout.params}; next: tokensieve run --project {options.folder} --data PATH"
    )


def run(options: argparse.Namespace, answer: Callable[[str], None]) -> None:
    """Take data in, run every stage that is stale, and print the summary."""
    # What can be refused at once is refused before anything is written and Prefect starts.
    for wrong, remedy in doctor_command.bad_pairs():
        log.warning("warning: %s; %s", wrong, remedy)
    _check_data(options)
    layout = _opened(options)
    result = _retrain(layout, options)
    if options.json:
        answer(json.dumps(result, ensure_ascii=False))
    else:
        from flows.summary import summary_text

        answer(summary_text(result, layout))


def _retrain(layout: Layout, options: argparse.Namespace) -> dict[str, Any]:
    """Run the flow, on a server of Prefect's own if none is configured."""
    from flows.temporary_server import connected, prefect_server
    from tokensieve.progress import log_while_running

    log.info("%-10s ...", "start")
    with prefect_server(layout.active) as server, contextlib.ExitStack() as stack:
        with log_while_running("start"):
            # While the server starts. Collecting garbage would take a quarter of the time, and frees nothing here.
            gc.disable()
            from flows.retrain import retrain
            from tasks.download import hidden

            gc.enable()
            stack.enter_context(connected(server))
        started = time.perf_counter() - _START
        log.info("%-10s %.1f s", "start", started)
        data, test = (address and hidden(address) for address in (options.data, options.test))
        result: dict[str, Any] = retrain(layout.root, data, test, options.force, options.set)
    total = time.perf_counter() - _START
    outside = total - sum(result["seconds"].values())
    return result | {
        "start_seconds": round(started, 2),
        "outside_seconds": round(outside, 2),
        "total_seconds": round(total, 2),
    }


def stage(options: argparse.Namespace, answer: Callable[[str], None]) -> None:
    """Run one stage if it is stale. `dvc repro` calls it for every stage that DVC found stale."""
    from tasks import stage as stages
    from tasks.upgrade import rename_settings
    from tokensieve.settings import Settings

    function, layout = stages.function_of(options.name), _project(options)
    if not os.environ.get("DVC_STAGE"):
        rename_settings(layout)
    with _settings(options, layout):
        if os.environ.get("DVC_STAGE"):
            function(layout, Settings.load(layout.params))
        else:
            stages.run_if_stale(layout, options.name, options.force)


def version(options: argparse.Namespace, answer: Callable[[str], None]) -> None:
    """Put data under DVC and print its hash."""
    from tasks.data_versions import data_hash
    from tasks.stage import ask_registry, run_ingest
    from tokensieve.settings import Settings

    _check_data(options)
    layout = _opened(options)
    with _settings(options, layout):
        settings = Settings.load(layout.params)
        run_ingest(layout, settings, options.data, options.test)
        ask_registry(layout, settings)
    answer(data_hash(layout))


def versions(options: argparse.Namespace, answer: Callable[[str], None]) -> None:
    """List the versions of the raw data, oldest first; * marks the present one."""
    from tasks.data_versions import data_hash, data_versions

    layout = _project(options)
    now = data_hash(layout)
    for known in data_versions(layout):
        rows = ", ".join(f"{name} {count:,}" for name, count in known.rows.items())
        answer(
            f"{'*' if known.data_hash == now else ' '} {known.data_hash}  {known.date}  {rows}  {known.source}"
        )


def restore(options: argparse.Namespace, answer: Callable[[str], None]) -> None:
    """Bring an earlier version of the raw data back by its hash."""
    from tasks.data_versions import restore_version
    from tokensieve.files import locked

    layout = _project(options)
    with locked(layout.busy):
        answer(f"{restore_version(layout, options.hash)} is back; next: tokensieve run")


def predict(options: argparse.Namespace, answer: Callable[[str], None]) -> None:
    """Label texts with an exported model: those given, or a file of them."""
    predict_command.run(options, _model, answer)


def check(options: argparse.Namespace, answer: Callable[[str], None]) -> int:
    """Run behaviour tests on an exported model; exit status 1 if too few pass."""
    return check_command.run(options, lambda: predict_command.find_model(options, _model), answer)


def serve(options: argparse.Namespace, answer: Callable[[str], None]) -> None:
    """Serve an exported model over HTTP."""
    serve_command.run(options, _source)


def export(options: argparse.Namespace, answer: Callable[[str], None]) -> None:
    """Write the models of several projects into one folder that computes the layers they share once."""
    from tasks.export_shared import export_shared

    found = export_shared([Path(source) for source in options.shared_prefix], Path(options.output))
    agreement = ", ".join(f"{name} {share:.2%}" for name, share in found["tasks"].items())
    answer(
        f"{options.output} shares {found['layers']} layers, variant {found['variant']}; same answers as PyTorch: {agreement}"
    )


def triton(options: argparse.Namespace, answer: Callable[[str], None]) -> None:
    """Add an exported model to a Triton model repository, as its next version."""
    from tokensieve.export.triton import write_repository

    versions = [int(path.name) for path in (Path(options.output) / options.name).glob("[0-9]*")]
    added = max(versions, default=0) + 1
    answer(
        f"{write_repository(_model(options), Path(options.output), options.name, added)} holds version {added}"
    )


def promote(options: argparse.Namespace, answer: Callable[[str], None]) -> None:
    """Make a version the champion; without --version, the challenger."""
    champion_command.promote(options, _project(options), answer)


def rollback(options: argparse.Namespace, answer: Callable[[str], None]) -> None:
    """Make the last champion before this one that still exists the champion again."""
    champion_command.rollback(options, _project(options), answer)


def doctor(options: argparse.Namespace, answer: Callable[[str], None]) -> int:
    """Check versions, servers, remotes, GPU, disk and settings; exit status 1 if something is wrong."""
    return doctor_command.run(options, answer)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tokensieve", description="Retrain, promote and serve small text classifiers."
    )
    parser.add_argument("--version", action="version", version=f"tokensieve {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")

    def command(function: Command, project: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(function.__name__, help=function.__doc__, description=function.__doc__)
        added.set_defaults(command=function, set=[])
        added.add_argument("--debug", action="store_true", help="show stack traces and Prefect's log")
        if project:
            made = "; created if it does not exist" if function in (run, version) else ""
            added.add_argument(
                "--project", default=".", metavar="DIR", help=f"project folder (default: this one){made}"
            )
        return added

    def data(added: argparse.ArgumentParser, required: bool = False) -> None:
        about = "CSV, TSV, JSONL, Parquet or Arrow file, folder with train and test files, or http(s)/s3 URL"
        added.add_argument("--data", metavar="PATH", required=required, help=about)
        added.add_argument("--test", metavar="PATH", help="file or URL with the test part")

    def assignments(added: argparse.ArgumentParser) -> None:
        about = "change a setting; it is written into params.yaml, and taken back if the command fails"
        added.add_argument("--set", action="extend", nargs="+", metavar="SECTION.KEY=VALUE", help=about)

    added = command(init, project=False)
    added.add_argument("folder", metavar="DIR")
    data(added)
    assignments(added)
    added = command(run)
    data(added)
    assignments(added)
    added.add_argument("--force", action="store_true", help="run stages that are current, too")
    added.add_argument(
        "--json",
        action="store_true",
        help="print the summary as one JSON object; all else goes to standard error",
    )
    added = command(stage)
    added.add_argument("name", metavar="STAGE")
    assignments(added)
    added.add_argument("--force", action="store_true", help="run it even if it is current")
    added = command(version)
    data(added, required=True)
    assignments(added)
    command(versions)
    command(restore).add_argument("hash", metavar="HASH", help="data hash or its beginning")
    predict_command.add(command(predict))
    check_command.add(command(check))
    serve_command.add(command(serve))
    _add_exports(command)
    champion_command.add_promote(command(promote))
    champion_command.add_rollback(command(rollback))
    doctor_command.add(command(doctor))
    patch.add(commands)
    return parser


def _add_exports(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add what puts exported models into another form."""
    added = command(export, project=False)
    about = "two or more projects, or their artifacts/model folders, trained from one base"
    added.add_argument("--shared-prefix", nargs="+", required=True, metavar="DIR", help=about)
    added.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="new folder; a task is named after its project's folder",
    )
    added = command(triton)
    added.add_argument("--model", required=True, metavar="DIR_OR_URI", help="as for predict")
    added.add_argument("--output", required=True, metavar="DIR", help="the model repository")
    added.add_argument(
        "--name", default="classifier", metavar="NAME", help="of the model there (default: classifier)"
    )


def _project(options: argparse.Namespace) -> Layout:
    """The layout of a project that is there."""
    layout = Layout(Path(options.project).resolve())
    if not layout.params.exists():
        raise InputError(
            f"{layout.root} is not a project (it has no {layout.params.name}); go to the project's folder, name it with --project DIR, "
            "or create one with tokensieve init DIR"
        )
    return layout


@contextlib.contextmanager
def _settings(options: argparse.Namespace, layout: Layout) -> Iterator[None]:
    """Within it, no other command works on the project, and its settings have the `--set` assignments, which stay if it succeeds."""
    from tokensieve.files import locked
    from tokensieve.settings import tried

    with locked(layout.busy), tried(layout.params, options.set):
        yield


def _opened(options: argparse.Namespace) -> Layout:
    """As `_project`, made with the defaults where it is not there."""
    from tasks.project import open_project

    layout = open_project(Path(options.project))
    # Before Prefect starts, and not first where the run leaves its notes.
    check_writable(layout.root, layout.busy.parent, layout.active)
    return _project(options)


def _check_data(options: argparse.Namespace) -> None:
    """Refuse settings and local data that cannot be read, before anything is made."""
    from tasks.data_versions import data_hash
    from tasks.ingest import count_rows, local_parts
    from tokensieve.settings import assigned

    layout = Layout(Path(options.project).resolve())
    settings = assigned(layout.params, options.set)
    if options.data is None:
        if options.test:
            raise InputError("--test needs --data; give both")
        data_hash(layout)
    elif "://" not in options.data + (options.test or ""):
        count_rows(local_parts(options.data, options.test), settings.data)


def _model(options: argparse.Namespace) -> Path:
    """The served folder that --model names: a folder, or what the registry has under a models:/ URI."""
    if not options.model.startswith("models:/"):
        folder = Path(options.model)
        if not folder.is_dir():
            raise InputError(
                f"--model {folder} does not exist; give an exported folder (artifacts/onnx) or models:/NAME@ALIAS"
            )
        return folder
    registry = _registry(options)
    return registry.fetch(registry.version())


def _registry(options: argparse.Namespace) -> Registry:
    """The registry that --model names. Where the environment says where it is, no project is needed: a server has none."""
    from tokensieve.registry.models import Registry
    from tokensieve.registry.store import tracking_uri
    from tokensieve.settings import Settings

    layout = (
        Layout(Path(options.project).resolve())
        if os.environ.get("MLFLOW_TRACKING_URI")
        else _project(options)
    )
    settings = Settings.load(layout.params) if layout.params.exists() else Settings()
    return Registry.of(options.model, tracking_uri(layout, settings), layout.served)


def _source(options: argparse.Namespace) -> ModelSource:
    """Where the served model comes from: a folder, or the registry, which are both followed."""
    from tokensieve.server.model_watcher import FolderSource

    return _registry(options) if options.model.startswith("models:/") else FolderSource(_model(options))


def _log_to_stderr() -> None:
    handler = _Lines(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers = [handler]
    # Prefect gives the root logger a handler of its own.
    log.propagate = False
    log.setLevel(logging.INFO)


class _Lines(logging.StreamHandler[TextIO]):
    """Writes lines above the progress bar that is there, if any, and not into it."""

    def emit(self, record: logging.LogRecord) -> None:
        bars = sys.modules.get("tqdm")
        if bars and not self.stream.closed and self.stream.isatty():
            with bars.tqdm.external_write_mode(file=self.stream):
                super().emit(record)
        else:
            super().emit(record)


def _quiet_prefect(debug: bool) -> None:
    """Leave standard error to our own lines, unless the user has set what the libraries print."""
    quiet = {} if debug else {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
    for vendor in ("mlflow", "alembic", "great_expectations"):
        logging.getLogger(vendor).setLevel(logging.INFO if debug else logging.WARNING)
    defaults = {
        "MLFLOW_LOGGING_LEVEL": "INFO" if debug else "WARNING",
        "HF_HUB_DISABLE_PROGRESS_BARS": "0" if debug else "1",
        "TRANSFORMERS_VERBOSITY": "warning" if debug else "error",
        "TQDM_MININTERVAL": "1",  # of our own bars, one state a second is enough
    }
    for key, value in (defaults | quiet).items():
        os.environ.setdefault(key, value)


@contextlib.contextmanager
def _only_the_answer_on_stdout() -> Iterator[Callable[[str], None]]:
    """Within it, whatever is printed goes to standard error, by any library or child; yields what prints on standard output."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept), "w", encoding="utf-8") as output:
            yield lambda line: print(line, file=output, flush=True)
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
