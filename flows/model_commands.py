"""The commands for registered models and their arguments: promote, rollback, history and others.

`tokensieve/cli/parser.py` collects them. Each command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from tokensieve.cli.command import (
    MAINTAIN,
    PROMOTE,
    RUN,
    Answer,
    Command,
    add_json,
    add_project,
    existing_project,
)


def promote(options: argparse.Namespace, answer: Answer) -> None:
    """Make a registered version the champion: the challenger, or the one that --version names."""
    from flows.champion_text import promoted_text
    from flows.notifications import promoted
    from tasks.promotion import promote as promotions
    from tasks.promotion.last_verdict import advice_against
    from tokensieve.settings import Settings

    layout = existing_project(options)
    moved = promotions.promote(
        layout,
        Settings.load(layout.params),
        options.version,
        options.reason,
        options.other_project,
        force=options.force,
    )
    promoted(layout, moved, "promote", options.reason)
    against = advice_against(layout, moved["name"], moved["version"])
    shown = promoted_text(moved, options.project, against)
    answer(json.dumps(moved, ensure_ascii=False) if options.json else shown)


def rollback(options: argparse.Namespace, answer: Answer) -> None:
    """Make the previous champion that still exists the champion again."""
    from flows.champion_text import rolled_back_text
    from flows.notifications import promoted
    from tasks.promotion import promote as promotions
    from tokensieve.settings import Settings

    layout = existing_project(options)
    moved = promotions.rollback(layout, Settings.load(layout.params), options.reason)
    promoted(layout, moved, "rollback", options.reason)
    answer(
        json.dumps(moved, ensure_ascii=False) if options.json else rolled_back_text(moved, options.project)
    )


def history(options: argparse.Namespace, answer: Answer) -> int:
    """Show who promoted or rolled back which version, when and why, and whether the record is
    intact.

    The exit status is 1 if an entry was changed or is missing.
    """
    from flows.record_text import record_text
    from tasks.promotion.shown_record import project_record, record_tree
    from tokensieve.settings import Settings

    layout = existing_project(options)
    tree = record_tree(project_record(layout, Settings.load(layout.params)))
    answer(json.dumps(tree, ensure_ascii=False) if options.json else record_text(tree))
    return 0 if tree["intact"] else 1


def models(options: argparse.Namespace, answer: Answer) -> None:
    """List every registered model with its versions, aliases, scores, data and date."""
    from dataclasses import asdict

    from flows.status_text import models_text
    from tasks.promotion.models import all_models
    from tasks.promotion.registry_lookups import open_registry
    from tokensieve.settings import Settings

    layout = existing_project(options)
    found = all_models(open_registry(layout, Settings.load(layout.params)))
    tree = {name: [asdict(facts) for facts in versions] for name, versions in found.items()}
    answer(json.dumps(tree, ensure_ascii=False) if options.json else models_text(found))


def status(options: argparse.Namespace, answer: Answer) -> None:
    """Show the project's data, its last run, its challenger and champion, what is stale, and
    what to do next.
    """
    from dataclasses import asdict

    from flows.status_text import status_text
    from tasks.projects.status import project_status
    from tokensieve.settings import Settings

    layout = existing_project(options)
    found = project_status(layout, Settings.load(layout.params), options.project)
    answer(json.dumps(asdict(found), ensure_ascii=False) if options.json else status_text(found))


def lineage(options: argparse.Namespace, answer: Answer) -> None:
    """Show where a registered version comes from: run, commit, settings, packages and data."""
    from dataclasses import asdict

    from flows.lineage_text import lineage_text
    from tasks.promotion import lineage as lineages
    from tokensieve.settings import Settings

    layout = existing_project(options)
    found = lineages.lineage(layout, Settings.load(layout.params), options.version)
    answer(json.dumps(asdict(found), ensure_ascii=False) if options.json else lineage_text(found))


def reproduce(options: argparse.Namespace, answer: Answer) -> int:
    """Train a registered version again in a new folder, and compare the weights.

    The exit status is 1 if they differ.
    """
    from dataclasses import asdict

    from flows.lineage_text import reproduced_text
    from tasks.promotion import reproduce as reproductions
    from tokensieve.settings import Settings

    layout = existing_project(options)
    into = Path(options.into or f"reproduced-{re.sub(r'[^0-9A-Za-z]+', '-', options.version)}")
    found = reproductions.reproduce(layout, Settings.load(layout.params), options.version, into)
    tree = asdict(found) | {"identical": found.is_identical}
    answer(json.dumps(tree, ensure_ascii=False) if options.json else reproduced_text(found))
    return 0 if found.is_identical else 1


def prune(options: argparse.Namespace, answer: Answer) -> None:
    """Show which old versions, runs and caches may be deleted. With --yes, delete them."""
    from flows.status_text import prune_text
    from tasks.promotion import prune as pruning
    from tokensieve.files import locked
    from tokensieve.settings import Settings

    layout = existing_project(options)
    settings = Settings.load(layout.params)
    with locked(layout.busy):
        found = pruning.find_prunable(layout, settings, options.keep)
        if options.yes:
            found = pruning.prune(layout, settings, found)
    tree = {
        "deleted": options.yes,
        "bytes": sum(one.bytes for one in found),
        "found": [{"kind": one.kind, "name": one.name, "bytes": one.bytes} for one in found],
    }
    answer(json.dumps(tree, ensure_ascii=False) if options.json else prune_text(found, options.yes))


def _project_and_json(parser: argparse.ArgumentParser) -> None:
    add_project(parser)
    add_json(parser)


def _lineage_arguments(parser: argparse.ArgumentParser) -> None:
    _project_and_json(parser)
    about = "number of a version, NAME/NUMBER, or the data_hash of an answer (at least 8 characters)"
    parser.add_argument("version", metavar="VERSION", help=about)


def _reproduce_arguments(parser: argparse.ArgumentParser) -> None:
    _lineage_arguments(parser)
    about = "new folder, which becomes a project (default: reproduced-VERSION)"
    parser.add_argument("--into", metavar="DIR", help=about)


def _prune_arguments(parser: argparse.ArgumentParser) -> None:
    _project_and_json(parser)
    about = "newest versions that are kept besides those that an alias or the record names (default: 10)"
    parser.add_argument("--keep", type=int, default=10, metavar="N", help=about)
    parser.add_argument("--yes", action="store_true", help="delete; without it, nothing is changed")


def _rollback_arguments(parser: argparse.ArgumentParser) -> None:
    _project_and_json(parser)
    parser.add_argument("--reason", metavar="TEXT", help="why; it is kept in the record")


def _promote_arguments(parser: argparse.ArgumentParser) -> None:
    _project_and_json(parser)
    parser.add_argument("--version", metavar="N", help="registered version (default: the challenger)")
    about = "why; required, with --version, to promote a version that was rolled back"
    parser.add_argument("--reason", metavar="TEXT", help=about)
    about = "promote the version even if another project registered it"
    parser.add_argument("--other-project", action="store_true", help=about)
    about = "promote the version even if the gate refuses it; needs --reason"
    parser.add_argument("--force", action="store_true", help=about)


COMMANDS = (
    Command("promote", PROMOTE, promote, _promote_arguments, extra="pipeline"),
    Command("rollback", PROMOTE, rollback, _rollback_arguments, extra="pipeline"),
    Command("models", PROMOTE, models, _project_and_json, extra="pipeline"),
    Command("status", RUN, status, _project_and_json, extra="pipeline"),
    Command("lineage", PROMOTE, lineage, _lineage_arguments, extra="pipeline"),
    Command("reproduce", PROMOTE, reproduce, _reproduce_arguments, extra="pipeline"),
    Command("prune", MAINTAIN, prune, _prune_arguments, extra="pipeline"),
    Command("history", PROMOTE, history, _project_and_json, extra="pipeline"),
)
