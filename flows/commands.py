"""The commands of the pipeline and their arguments, which `tokensieve/cli/parser.py` collects.

Each command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokensieve.cli.command import (
    DATA,
    PREDICT,
    RUN,
    START,
    Answer,
    Command,
    add_json,
    add_project,
    existing_project,
)
from tokensieve.errors import InputError
from tokensieve.project import Layout

PROGRAM_START = time.perf_counter()

log = logging.getLogger("tokensieve")


def init(options: argparse.Namespace, answer: Answer) -> None:
    """Create a project folder with the default settings. With --data, add data to it."""
    options.project = options.folder
    layout = _opened_project(options)
    if options.data:
        data_add(options, answer)
    else:
        with _locked_with_settings(options, layout):
            pass
    data = "" if options.data else " --data PATH"
    answer(
        f"{layout.root} is ready; settings: {layout.params}; "
        f"next: tokensieve run --project {options.folder}{data}"
    )


def run(options: argparse.Namespace, answer: Answer) -> None:
    """Add data, run every stage whose inputs have changed, and print a summary."""
    from tokensieve.cli.installation_checks import bad_pairs
    from tokensieve.settings import assigned, check_base_model

    # Check settings and data before files are written and Prefect starts.
    for problem, remedy in bad_pairs():
        log.warning("warning: %s; %s", problem, remedy)
    _check_data(options)
    root = Path(options.project).resolve()
    check_base_model(assigned(Layout(root).params, options.set).base.model, root)
    layout = _opened_project(options)
    result = _retrain(layout, options)
    from flows.summary import summary_text

    answer(json.dumps(result, ensure_ascii=False) if options.json else summary_text(result, layout))


def _retrain(layout: Layout, options: argparse.Namespace) -> dict[str, Any]:
    """Run the flow, on a temporary Prefect server if none is configured."""
    from flows.temporary_server import connected, prefect_server
    from tokensieve.progress import log_while_running

    log.info("%-10s ...", "start")
    with prefect_server(layout.active) as server, contextlib.ExitStack() as stack:
        with log_while_running("start"):
            # Import while the server starts. Garbage collection would take a quarter of the time
            # and free nothing.
            gc.disable()
            from flows.retrain import retrain
            from tasks.versioning.download import hidden

            gc.enable()
            stack.enter_context(connected(server))
        started = time.perf_counter() - PROGRAM_START
        log.info("%-10s %.1f s", "start", started)
        data, test = (address and hidden(address) for address in (options.data, options.test))
        result: dict[str, Any] = retrain(layout.root, data, test, options.force, options.set)
    total = time.perf_counter() - PROGRAM_START
    outside = total - sum(result["seconds"].values())
    return result | {
        "start_seconds": round(started, 2),
        "outside_seconds": round(outside, 2),
        "total_seconds": round(total, 2),
    }


def report(options: argparse.Namespace, answer: Answer) -> None:
    """Write the report of the last run again, as artifacts/report.html, and print its path."""
    from tasks.reporting.write_report import write_report
    from tokensieve.files import locked
    from tokensieve.settings import Settings

    layout = existing_project(options)
    with locked(layout.busy):
        answer(str(write_report(layout, Settings.load(layout.params))))


def stage(options: argparse.Namespace, answer: Answer) -> None:
    """Run one stage if its inputs have changed. `dvc repro` calls this command."""
    from tasks import stage as stages
    from tasks.projects.project import template
    from tasks.projects.upgrade import complete_stages, rename_settings
    from tokensieve.settings import Settings

    function, layout = stages.function_of(options.name), existing_project(options)
    called_by_dvc = bool(os.environ.get("DVC_STAGE"))
    if not called_by_dvc:
        rename_settings(layout)
    with _locked_with_settings(options, layout):
        if called_by_dvc:
            function(layout, Settings.load(layout.params))
        else:
            complete_stages(layout, template())
            stages.run_if_stale(layout, options.name, options.force)


def data_add(options: argparse.Namespace, answer: Answer) -> None:
    """Add data to the project as its present version, and print its hash.

    The data replace those of the project. Feedback corrects them and adds to them. A review
    corrects them.
    """
    from tasks.stage import check_registry, run_ingest
    from tasks.versioning.data_versions import data_hash
    from tokensieve.settings import Settings

    feedback, review = (getattr(options, name, None) for name in ("feedback", "review"))
    if [options.data, feedback, review].count(None) != 2 or (review and options.test):
        raise InputError("use one of --data, --feedback and --review")
    if review:
        from flows.audit_commands import add_review

        add_review(options, answer)
        return
    _check_data(options)
    layout = _opened_project(options)
    with _locked_with_settings(options, layout):
        settings = Settings.load(layout.params)
        if feedback:
            from tasks.feedback import add_feedback

            add_feedback(layout, Path(feedback), settings.data)
        run_ingest(layout, settings, options.data, options.test, feedback or "")
        check_registry(layout, settings)
    answer(data_hash(layout))


def data_list(options: argparse.Namespace, answer: Answer) -> None:
    """List the versions of the raw data, oldest first. The present one is marked with *."""
    from tasks.versioning.data_versions import data_hash, data_versions

    layout = existing_project(options)
    present = data_hash(layout)
    for known in data_versions(layout):
        rows = ", ".join(f"{name} {count:,}" for name, count in known.rows.items())
        mark = "*" if known.data_hash == present else " "
        answer(f"{mark} {known.data_hash}  {known.date}  {rows}  {known.source}")


def data_restore(options: argparse.Namespace, answer: Answer) -> None:
    """Restore an earlier version of the raw data."""
    from tasks.versioning.data_versions import restore_version
    from tokensieve.files import locked

    layout = existing_project(options)
    with locked(layout.busy):
        answer(f"{restore_version(layout, options.hash)} is restored; next: tokensieve run")


def export_shared(options: argparse.Namespace, answer: Answer) -> None:
    """Export the models of several projects into one folder with one copy of the shared layers."""
    from tasks import export_shared as sharing

    exported = sharing.export_shared([Path(folder) for folder in options.folders], Path(options.output))
    agreement = ", ".join(f"{name} {share:.2%}" for name, share in exported["tasks"].items())
    answer(
        f"{options.output} shares {exported['layers']} layers, variant {exported['variant']}; "
        f"agreement with PyTorch: {agreement}"
    )


@contextlib.contextmanager
def _locked_with_settings(options: argparse.Namespace, layout: Layout) -> Iterator[None]:
    """Lock the project and apply the --set assignments. They are kept if the block succeeds."""
    from tokensieve.files import locked
    from tokensieve.settings import tried

    with locked(layout.busy), tried(layout.params, options.set):
        yield


def _opened_project(options: argparse.Namespace) -> Layout:
    """Return the project that the options name.

    Create it with default settings if it does not exist.
    """
    from tasks.projects.project import open_project
    from tokensieve.disk import check_writable

    layout = open_project(Path(options.project))
    check_writable(layout.root, layout.busy.parent, layout.active)
    return existing_project(options)


def _check_data(options: argparse.Namespace) -> None:
    """Raise InputError if a setting is wrong or local data cannot be read. Writes nothing."""
    from tasks.ingest import count_rows, local_parts
    from tasks.versioning.data_versions import data_hash
    from tokensieve.settings import assigned

    layout = Layout(Path(options.project).resolve())
    settings = assigned(layout.params, options.set)
    if options.data is None:
        if options.test:
            raise InputError("--test needs --data; use both")
        data_hash(layout)
    elif "://" not in options.data + (options.test or ""):
        count_rows(layout, local_parts(options.data, options.test), settings.data)


def _add_data(parser: argparse.ArgumentParser) -> None:
    about = "CSV, TSV, JSONL, Parquet or Arrow file, folder with train and test files, or http(s) or s3 URL"
    parser.add_argument("--data", metavar="PATH", help=about)
    parser.add_argument("--test", metavar="PATH", help="file or URL of the test set")


def _add_assignments(parser: argparse.ArgumentParser) -> None:
    about = "change settings in params.yaml; if the command fails, all of them are undone"
    parser.add_argument("--set", action="extend", nargs="+", metavar="SECTION.KEY=VALUE", help=about)


def _init_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="folder of the new project")
    _add_data(parser)
    _add_assignments(parser)


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    add_project(parser, created=True)
    _add_data(parser)
    _add_assignments(parser)
    parser.add_argument("--force", action="store_true", help="run stages whose inputs have not changed, too")
    add_json(parser)


def _stage_arguments(parser: argparse.ArgumentParser) -> None:
    add_project(parser)
    parser.add_argument("name", metavar="STAGE", help="name of a stage in dvc.yaml")
    _add_assignments(parser)
    parser.add_argument("--force", action="store_true", help="run it even if its inputs have not changed")


def _data_add_arguments(parser: argparse.ArgumentParser) -> None:
    add_project(parser, created=True)
    _add_data(parser)
    about = "feedback file of a server: corrects the labels of the project's data, and adds new texts"
    parser.add_argument("--feedback", metavar="FILE", help=about)
    about = "review.csv of tokensieve audit with right labels, (remove) for rows that are to go"
    parser.add_argument("--review", metavar="FILE", help=about)
    about = "accept answers that are labels of no text yet"
    parser.add_argument("--new-labels", action="store_true", help=about)
    _add_assignments(parser)


def _data_restore_arguments(parser: argparse.ArgumentParser) -> None:
    add_project(parser)
    parser.add_argument("hash", metavar="HASH", help="hash of the version, or the beginning of it")


def _export_shared_arguments(parser: argparse.ArgumentParser) -> None:
    about = "two or more projects, or their artifacts/model folders, trained from one base model"
    parser.add_argument("folders", nargs="+", metavar="DIR", help=about)
    about = "new folder; each task has the name of its project's folder"
    parser.add_argument("--output", required=True, metavar="DIR", help=about)


COMMANDS = (
    Command("init", START, init, _init_arguments, extra="pipeline"),
    Command("data add", DATA, data_add, _data_add_arguments, extra="pipeline"),
    Command("data list", DATA, data_list, add_project, extra="pipeline"),
    Command("data restore", DATA, data_restore, _data_restore_arguments, extra="pipeline"),
    Command("run", RUN, run, _run_arguments, extra="pipeline"),
    Command("report", RUN, report, add_project, extra="pipeline"),
    Command("stage", RUN, stage, _stage_arguments, extra="pipeline"),
    Command("export-shared", PREDICT, export_shared, _export_shared_arguments, extra="pipeline"),
)
