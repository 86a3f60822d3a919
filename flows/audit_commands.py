"""The command that audits the data, and `data add --review`, which takes its answers in."""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict
from pathlib import Path

from tokensieve.cli.command import DATA, Answer, Command, add_json, add_project, existing_project

log = logging.getLogger("tokensieve")

STAGES = ("validate", "split", "vocabulary", "audit")


def audit(options: argparse.Namespace, answer: Answer) -> None:
    """Look for wrong labels, copies, overlapping classes and outliers in the project's data.

    No model is trained. Stages whose inputs have not changed do not run again.
    """
    from flows.audit_text import audit_text
    from tasks.auditing.audit_report import Audit
    from tasks.auditing.label_studio import label_studio_tasks
    from tasks.auditing.review_file import review_cells
    from tasks.projects.project import template
    from tasks.projects.upgrade import add_stage, complete_stages, rename_settings
    from tasks.split import load_labels
    from tasks.stage import run_if_stale
    from tasks.versioning.data_versions import data_hash
    from tokensieve.files import locked, write_json

    layout = existing_project(options)
    data_hash(layout)
    with locked(layout.busy):
        rename_settings(layout)
        add_stage(layout.pipeline, template(), "audit")
        complete_stages(layout, template())
        for name in STAGES:
            run_if_stale(layout, name)
        found = Audit.load(layout.audit)
        if options.label_studio:
            _, multi_label = load_labels(layout, "train")
            tasks = label_studio_tasks(review_cells(layout.review), multi_label)
            write_json(Path(options.label_studio), tasks)
    answer(
        json.dumps(asdict(found), ensure_ascii=False)
        if options.json
        else audit_text(found, layout, options.project)
    )


def add_review(options: argparse.Namespace, answer: Answer) -> None:
    """Take the answers of a review into the data as a new version, and print its hash."""
    from tasks.auditing.take_in_review import take_in_review
    from tokensieve.files import locked
    from tokensieve.settings import Settings, tried

    layout = existing_project(options)
    with locked(layout.busy), tried(layout.params, options.set):
        settings = Settings.load(layout.params)
        done = take_in_review(layout, settings, Path(options.review), options.new_labels)
    log.info(
        "%s labels changed, %s rows removed, %s labels confirmed, %s rows without an answer, %s not found",
        *(f"{n:,}" for n in (done.changed, done.removed, done.confirmed, done.unanswered, done.missing)),
    )
    answer(done.data_hash)


def _audit_arguments(parser: argparse.ArgumentParser) -> None:
    add_project(parser)
    about = "also write the rows to look at as tasks that Label Studio imports (JSON)"
    parser.add_argument("--label-studio", metavar="FILE", help=about)
    add_json(parser)


COMMANDS = (Command("audit", DATA, audit, _audit_arguments, extra="pipeline"),)
